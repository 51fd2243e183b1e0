"""The tables of an MLflow database, and their upgrade to the installed release, as `mlflow db upgrade` does it."""

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from patchcore._util.files import sync
from patchcore.adapters.mlflow.connection import answering


@dataclass(frozen=True)
class Revisions:
    """The revisions of an MLflow database, as MLflow names them.

    Attributes:
        present: Of its tables.
        latest: Of the tables that the installed MLflow works with.
    """

    present: str
    latest: str


def revisions(uri: str) -> Revisions | None:
    """Return the revisions of a database; None where there is no database yet, or a server takes care of it.

    Raises:
        RegistryUnavailable: The database does not answer.
    """
    if not _is_database(uri) or (_sqlite_file(uri) is not None and not Path(str(_sqlite_file(uri))).is_file()):
        return None
    with answering(uri):
        from mlflow.store.db import utils

        engine: Any = utils.create_sqlalchemy_engine(uri)  # type: ignore[no-untyped-call]
        try:
            present = utils._get_schema_version(engine)  # type: ignore[no-untyped-call]
            return Revisions(present, utils._get_latest_schema_revision()) if present else None  # type: ignore[no-untyped-call]
        finally:
            engine.dispose()


def upgrade(uri: str) -> None:
    """Bring the tables of a database to the revision of the installed MLflow.

    MLflow's changes are not one transaction in SQLite: there they are made in a copy, which then replaces the file. So
    a run that is killed leaves the database as it was.

    Raises:
        RegistryUnavailable: The database does not answer, or cannot be written.
    """
    file = _sqlite_file(uri)
    with answering(uri):
        if file is None:
            _upgrade(uri)
            return
        copy = file.with_name(f".{file.name}.upgrade")
        copy.unlink(missing_ok=True)
        try:
            with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
                source.execute("PRAGMA journal_mode = DELETE")  # no file beside it that the copy would lack
                source.backup(target)
            _upgrade(f"sqlite:///{copy}")
            sync(copy)
            copy.replace(file)
            sync(file.parent)
        finally:
            with suppress(FileNotFoundError):
                copy.unlink()


def _upgrade(uri: str) -> None:
    from mlflow.store.db import utils

    engine: Any = utils.create_sqlalchemy_engine(uri)  # type: ignore[no-untyped-call]
    try:
        utils._upgrade_db(engine)  # type: ignore[no-untyped-call]
    finally:
        engine.dispose()


def _is_database(uri: str) -> bool:
    return urlsplit(uri).scheme.partition("+")[0] in {"sqlite", "postgresql", "mysql", "mssql"}


def _sqlite_file(uri: str) -> Path | None:
    return Path(uri.partition("///")[2]) if urlsplit(uri).scheme == "sqlite" else None
