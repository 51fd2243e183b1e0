"""No question about the past reads every image record, and none loads what it does not need."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event

from patchcore.adapters.ledger import Ledger
from patchcore.config.workspace import Workspace
from tests.support.ledgers import digest

LARGE = ("chain", "images", "members", "overrides", "one", "other")  # they grow with every image; two are of images
HEAVY = {
    "dvc",
    "faiss",
    "great_expectations",
    "matplotlib",
    "mlflow",
    "openvino",
    "pandas",
    "prefect",
    "pyarrow",
    "torch",
}

Statement = tuple[str, Any]


@pytest.fixture
def statements() -> Iterator[list[Statement]]:
    """Every SQL statement that is sent meanwhile, with its parameters."""
    sent: list[Statement] = []

    def note(_connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        sent.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    yield sent
    event.remove(Engine, "before_cursor_execute", note)


def test_every_query_finds_its_rows_through_an_index(filled_ledger_url: str, statements: list[Statement]) -> None:
    ledger = Ledger(filled_ledger_url)
    statements.clear()
    scratch = digest("scratch.png")
    for answer in (
        ledger.batch("monday"),
        ledger.scorings("monday"),
        ledger.overrides("monday"),
        ledger.image(scratch),
        ledger.overrides_of_image(scratch),
        ledger.memberships(digest("three.png")),
        ledger.members("bottle", 2),
        ledger.scored_by("bottle", 2),
        ledger.comparison("bottle", 1, 2),
        ledger.production_at("bottle", datetime.now(UTC)),
    ):
        assert answer
    ledger.unlisted_datasets()
    asked = [each for each in statements if each[0].lstrip().startswith(("SELECT", "WITH"))]
    assert len(asked) >= 10
    for plan in _plans(filled_ledger_url, asked):
        assert not re.search(rf"(SCAN|Seq Scan on) ({'|'.join(LARGE)})\b", plan), plan


def _plans(url: str, statements: list[Statement]) -> Iterator[str]:
    explain = "EXPLAIN QUERY PLAN" if url.startswith("sqlite") else "EXPLAIN"
    with create_engine(url).connect() as connection:
        if explain == "EXPLAIN":  # tables as small as these are read as a whole, where that is not forbidden
            connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in statements:
            rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
            yield statement + "\n" + "\n".join(" ".join(map(str, row)) for row in rows)


@pytest.mark.parametrize("filled_ledger_url", ["sqlite"], indirect=True)
def test_questions_load_neither_networks_nor_services(filled_ledger_url: str, empty_workspace: Workspace) -> None:
    questions = [
        ["batch", "monday"],
        ["dataset", "bottle", "1"],
        ["image", digest("scratch.png")],
        ["normal", digest("three.png")],
        ["bank", "bottle", "1"],
        ["compare", "bottle", "1", "2"],
        ["at", "bottle", datetime.now(UTC).isoformat()],
        ["history", "bottle"],
        ["completeness", "monday"],
    ]
    code = (
        "import json, sys; from patchcore.cli.app import run\n"
        f"codes = [run(['audit', *words, '--json', '-w', {str(empty_workspace.root)!r}]) for words in {questions!r}]\n"
        "print(json.dumps([codes, sorted(sys.modules)]))"
    )
    environment = {**os.environ, "PATCHCORE_LEDGER_URL": filled_ledger_url}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    codes, modules = json.loads(done.stdout.splitlines()[-1])
    assert codes == [0] * 8 + [3], done.stderr  # the files of the last one's batch are not there
    assert not HEAVY & set(modules)
