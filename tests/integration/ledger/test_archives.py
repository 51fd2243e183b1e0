"""Archives beside `audit verify`: whatever somebody made of them or of their records is a problem, never a crash."""

import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from patchcore._util.files import sha256_of
from patchcore.adapters.ledger.evidence_records import Archive
from patchcore.adapters.ledger.exports import columns_of
from patchcore.errors import Refused
from patchcore.evidence.export_tables import read_table, write_table
from patchcore.evidence.findings import Verification
from patchcore.lifecycle import archived_images
from patchcore.lifecycle.evidence import archives, verification
from patchcore.lifecycle.services import Services
from tests.support.fake_services import Notes
from tests.support.tampering import Owner

ALL = datetime(2999, 1, 1, tzinfo=UTC)


@pytest.fixture
def moved(services: Services) -> Archive:
    """The archive that the images of all batches lie in."""
    made = archives.archive(services, ALL)
    assert made is not None
    return made


@pytest.fixture
def file(services: Services, moved: Archive) -> Path:
    """The file of that archive."""
    (found,) = services.workspace.archives.rglob("*.parquet")
    return found


@pytest.fixture
def owner(services: Services) -> Owner:
    """Who owns the database of the ledger."""
    return Owner(f"sqlite:///{services.workspace.ledger}")


def _verify(services: Services) -> Verification:
    return verification.verify(services, banks=False)


def test_images_that_move_while_the_ledger_is_verified_are_no_false_alarm(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify, walks = services.ledger.verify, 0

    def after_an_archive(*given: Any, **options: Any) -> Verification:
        nonlocal walks
        walks += 1
        if walks == 1:
            archives.archive(services, ALL)
        return verify(*given, **options)

    monkeypatch.setattr(services.ledger, "verify", after_an_archive)
    assert _verify(services).problems == ()
    assert walks == 2
    assert _verify(services).ok
    assert walks == 3


def _score_of_nothing(rows: list[dict[str, Any]]) -> None:
    rows[2]["score"] = math.nan


def _no_sequence(rows: list[dict[str, Any]]) -> None:
    rows[2]["sequence"] = None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_score_of_nothing, "its content in images was altered"),
        (_no_sequence, "cannot be read: a record with the sequence None"),
    ],
)
def test_an_archive_with_values_that_no_image_has_is_a_problem_though_its_record_names_it(
    change: Callable[[list[dict[str, Any]]], None],
    words: str,
    services: Services,
    moved: Archive,
    file: Path,
    owner: Owner,
) -> None:
    columns = columns_of("images")
    rows = [dict(zip(columns, row, strict=True)) for row in read_table(file, columns)]
    change(rows)
    write_table(file, columns, [tuple(row.values()) for row in rows])
    owner.run(f"UPDATE archives SET sha256 = '{sha256_of(file)}'")  # noqa: S608
    found = _verify(services)
    assert not found.ok
    assert any(words in problem for problem in found.problems)
    assert f"record {moved.sequence}: its content in archives was altered" in found.problems


def test_an_archive_of_garbage_is_a_problem_that_names_its_record(
    services: Services, moved: Archive, file: Path, owner: Owner
) -> None:
    file.write_bytes(b"garbage")
    owner.run(f"UPDATE archives SET sha256 = '{sha256_of(file)}'")  # noqa: S608
    found = _verify(services)
    assert found.first_bad == moved.first
    (problem,) = (each for each in found.problems if "cannot be read" in each)
    assert problem.startswith(f"record {moved.sequence}: archive {moved.name} cannot be read")


def test_an_archive_that_this_account_may_not_read_is_a_problem(
    services: Services, moved: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> str:
        raise PermissionError("not yours")

    monkeypatch.setattr(archived_images, "sha256_of", refuse)
    assert f"record {moved.sequence}: archive {moved.name} cannot be read: got not yours" in "; ".join(
        _verify(services).problems
    )


@pytest.mark.parametrize("name", ["n" * 5000, "../elsewhere", "/etc", "..", "a\0b", "", "a\nb", "\x1b[2K"])
def test_a_name_that_no_archive_has_is_a_problem_and_leads_nowhere(
    name: str, services: Services, moved: Archive, file: Path, owner: Owner
) -> None:
    file.parent.rename(services.workspace.root / "elsewhere")
    with owner.at_work() as connection:
        connection.exec_driver_sql("UPDATE archives SET name = ?", (name,))
    found = _verify(services)
    words = f"record {moved.sequence}: the name of the archive in record {moved.sequence}: got {name[:80]!r}"
    assert any(problem.startswith(words) for problem in found.problems)
    assert f"record {moved.sequence}: its content in archives was altered" in found.problems
    assert all(problem.isprintable() for problem in found.problems)
    with pytest.raises(Refused, match="the plain name of a folder"):
        archived_images.scorings_of_image(services, "0" * 64)


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [("banks", "run_id", "the banks in the ledger cannot be read"), ("archives", "name", "the archives in the ledger")],
)
def test_text_that_is_no_text_is_a_problem_and_the_records_are_walked_all_the_same(
    table: str, column: str, words: str, services: Services, moved: Archive, owner: Owner
) -> None:
    owner.run(f"UPDATE {table} SET {column} = CAST(x'ff41' AS TEXT)")  # noqa: S608
    found = _verify(services)
    assert any(words in problem for problem in found.problems)
    assert any(f"its content in {table} was altered" in problem for problem in found.problems)
    assert found.records == moved.sequence


def test_metrics_that_are_no_json_are_a_problem(services: Services, owner: Owner) -> None:
    owner.run("UPDATE banks SET metrics = '{'")
    found = _verify(services)
    assert found.records > 0
    assert any("the banks in the ledger cannot be read" in problem for problem in found.problems)


@pytest.mark.parametrize("summary", ["[1]", "{", '{"batch": "monday", "up_to": {}}', '{"up_to": 1e400}'])
def test_a_record_of_an_export_that_cannot_be_read_is_a_problem(summary: str, services: Services, owner: Owner) -> None:
    services.ledger.record_event("bottle", "export", {}, who="ann")
    with owner.at_work() as connection:
        connection.exec_driver_sql("UPDATE events SET summary = ? WHERE action = 'export'", (summary,))
    found = _verify(services)
    assert found.first_bad == found.records
    assert any("export" in problem for problem in found.problems)


def test_a_table_that_was_dropped_is_a_problem(services: Services) -> None:
    with closing(sqlite3.connect(services.workspace.ledger)) as database:
        database.execute("DROP TABLE banks")
    found = _verify(services)
    assert not found.ok
    assert any("no such table: banks" in problem for problem in found.problems)


def test_a_kind_that_would_write_over_the_terminal_is_shown_as_it_is(services: Services, owner: Owner) -> None:
    with owner.at_work() as connection:
        kind = "x\x1b[2K\r\x1b[32mthe ledger is sound"
        connection.exec_driver_sql("UPDATE chain SET kind = ? WHERE sequence = 3", (kind,))
    (problem,) = (each for each in services.ledger.verify().problems if "unknown kind" in each)
    assert problem == f"record 3: has the unknown kind {kind!r}"


def test_the_name_of_a_trigger_does_nothing_to_a_terminal(services: Services, owner: Owner) -> None:
    owner.alter('CREATE TRIGGER "\x1b[2K" AFTER INSERT ON banks BEGIN SELECT 1; END')
    (problem,) = _verify(services).problems
    assert problem.startswith("trigger \\x1b[2K is foreign")


def test_a_registry_that_does_not_answer_about_banks_hides_nothing(
    services: Services, notes: Notes, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Notes, "download_bank", lambda *_: notes.note("", ""), raising=False)
    notes.answers = False
    owner.run("UPDATE overrides SET reason = 'none'")
    found = verification.verify(services)
    assert found.first_bad is not None
    assert any("the banks from bottle 1 on were not compared: MLflow" in problem for problem in found.problems)
    assert found.banks == 3
