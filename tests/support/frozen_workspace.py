"""A workspace of version 0.1.0, for tests that later versions can open it, and the facts that must stay true.

`tests/data/make_frozen_workspace.py` made it. It has git, DVC's cache, a ledger in SQLite, MLflow, an anchor file, an
archive, an export (`evidence/`), quarantine, results of batches, and the images of those below `line/`. `incoming/` has
new normal images that are not ingested yet; an image was withdrawn since the last retrain, so a retrain is due. What a
machine makes again is left out: the link `patchcore` to the code, converted networks, features, Prefect's database,
Data Docs, locks.
"""

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.places import DATA

ARCHIVE, FACTS = DATA / "frozen_workspace.tar.gz", DATA / "frozen_workspace.json"
# Where MLflow keeps full paths. (A model's file MLmodel has one too, which nothing reads.)
_MLFLOW_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def facts() -> dict[str, Any]:
    """Return what version 0.1.0 recorded about the workspace; it must stay true."""
    value: dict[str, Any] = json.loads(FACTS.read_text(encoding="utf-8"))
    return value


def unpack(folder: Path) -> Path:
    """Unpack the workspace into a folder that does not exist yet, and return it; MLflow's full paths lead there.

    The link `patchcore` to the code of version 0.1.0 leads nowhere, as on a machine where that version is gone.
    """
    folder.mkdir(parents=True)
    with tarfile.open(ARCHIVE) as file:
        file.extractall(folder, filter="data")
    (folder / "patchcore").symlink_to("/nowhere/site-packages/patchcore")
    before, now = facts()["root"], str(folder.resolve())
    with closing(sqlite3.connect(folder / ".patchcore" / "mlflow" / "mlflow.db")) as database, database:
        for table, column in _MLFLOW_PLACES:
            change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"  # noqa: S608  # names of our own
            database.execute(change, (before, now))
    return folder
