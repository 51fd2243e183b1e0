"""The ledger's connection: where it may be, who may write, and what happens where it cannot."""

import sqlite3
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from patchcore.adapters.ledger import Ledger, open_ledger
from patchcore.adapters.ledger_records import now, utc_text
from patchcore.errors import Fault, Refused
from patchcore.layout import Workspace


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def ledger(file: Path) -> Ledger:
    return Ledger(f"sqlite:///{file}")


RACE = """
import sys
from patchcore.adapters.ledger import Ledger
from patchcore.errors import Refused
ledger = Ledger(sys.argv[1])
version = int(sys.argv[2])
ledger.record_dataset("bottle", "d1", normals=1, evaluation_images=1, pointers={}, git_commit=None, who="race")
bank = ("bottle", version, f"bank{version}")
ledger.record_bank(*bank, dataset_version=1, dataset_sha256="d1", run_id="r", git_commit=None)
try:
    category, *content = bank
    ledger.decide(category, "promote", *content, expected_production=None, reason="", verdict={}, who="race")
except Refused:
    sys.exit(3)
"""


def test_of_processes_that_make_the_ledger_and_promote_at_once_one_wins(file: Path) -> None:
    url = f"sqlite:///{file}"
    racers = [subprocess.Popen([sys.executable, "-c", RACE, url, str(version)]) for version in range(1, 9)]
    codes = [racer.wait(timeout=60) for racer in racers]
    assert sorted(codes) == [0, *[3] * 7]
    ledger = Ledger(url)
    (winner,) = ledger.history("bottle")
    assert winner.to_version == codes.index(0) + 1
    assert len([version for version in range(1, 9) if ledger.bank("bottle", version)]) == 8


def test_a_ledger_in_a_place_that_is_no_folder_is_a_fault_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path, tmp_path / "file" / "ledger.db", tmp_path / "file"):
        with pytest.raises(Fault, match="set PATCHCORE_LEDGER_URL") as caught:
            Ledger(f"sqlite:///{path}")
        assert str(path) in caught.value.what


def test_a_ledger_that_somebody_else_keeps_writing_to_is_a_fault_after_a_while(ledger: Ledger, file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute("BEGIN IMMEDIATE")
        with pytest.raises(Fault, match="locked"):
            Ledger(f"sqlite:///{file}", wait=0.1).check()


@pytest.mark.parametrize("url", ["no url", "postgresql://ann:secret@host/ledger", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused_and_no_password_is_shown(url: str) -> None:
    with pytest.raises(Refused) as caught:
        Ledger(url)
    assert "secret" not in str(caught.value)


def test_a_ledger_of_a_later_version_is_refused(ledger: Ledger, file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(Refused, match="format 99"):
        Ledger(f"sqlite:///{file}")


def test_the_environment_says_where_the_ledger_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATCHCORE_LEDGER_URL", raising=False)
    workspace = Workspace(tmp_path)
    open_ledger(workspace).check()
    assert workspace.ledger.is_file()
    monkeypatch.setenv("PATCHCORE_LEDGER_URL", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    open_ledger(workspace).check()
    assert (tmp_path / "elsewhere.db").is_file()


def test_times_are_utc_text_that_sorts() -> None:
    time = datetime.fromisoformat("2026-02-01T03:13:00+01:00")
    assert utc_text(time) == "2026-02-01T02:13:00.000000Z"
    assert utc_text(time) < utc_text(time + timedelta(microseconds=1)) < now()
