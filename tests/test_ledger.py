"""The ledger on a real SQLite file: what it records, what it refuses, and what nobody can change."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from patchcore.adapters.ledger import Ledger
from patchcore.adapters.ledger_records import BatchRecord, ImageScore, images_digest, now
from patchcore.errors import Fault, Refused, UsageError

IMAGES = (
    ImageScore("b.png", "b" * 64, 0.1 + 0.2, 0.25, False, None),
    ImageScore("a.png", "a" * 64, 7.5, 0.0, True, None),
    ImageScore("broken.png", "c" * 64, None, None, None, "truncated"),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


@pytest.fixture
def ledger(file: Path) -> Ledger:
    """A ledger that knows data-set version 1 and banks 1 to 3 of category bottle."""
    ledger = Ledger(f"sqlite:///{file}")
    _dataset(ledger, "d1")
    for version in (1, 2, 3):
        _bank(ledger, version)
    return ledger


def _dataset(ledger: Ledger, sha256: str, category: str = "bottle") -> int:
    pointers = {f"data/{category}/train.dvc": "outs:\n"}
    return ledger.record_dataset(
        category, sha256, normals=200, evaluation_images=83, pointers=pointers, git_commit="c0", who="ann"
    ).number


def _bank(ledger: Ledger, version: int, **changes: Any) -> None:
    values = {"bank_sha256": f"bank{version}", "dataset_version": 1, "dataset_sha256": "d1", **changes}
    ledger.record_bank("bottle", version, run_id="run", git_commit=None, **values)


def _promote(ledger: Ledger, version: int, expected: int | None, action: Any = "promote") -> None:
    verdict = {"passed": True, "reasons": ["image AUROC 0.99 >= 0.9"]}
    ledger.decide(
        "bottle",
        action,
        version,
        f"bank{version}",
        expected_production=expected,
        reason="t",
        verdict=verdict,
        who="ann",
    )


def _batch(rows: Sequence[ImageScore] = IMAGES, **changes: Any) -> BatchRecord:
    failed = sum(row.score is None for row in rows)
    record = BatchRecord(
        batch="4711",
        category="bottle",
        bank_version=1,
        bank_sha256="bank1",
        dataset_version=1,
        dataset_sha256="d1",
        threshold=5.0,
        false_alarm_rate=0.05,
        images_sha256=images_digest((row.path, row.sha256) for row in rows),
        received=len(rows),
        scored=len(rows) - failed,
        failed=failed,
        runtime="torch",
        code_version="0.1.0",
        who="ann",
        scored_at=now(),
        flow_run_id=None,
    )
    return replace(record, **changes)


def test_data_set_versions_count_from_one_in_each_category_and_a_content_keeps_its_number(ledger: Ledger) -> None:
    assert [_dataset(ledger, name) for name in ("d2", "d1", "d3")] == [2, 1, 3]
    assert _dataset(ledger, "d2", "cable") == 1
    latest, second = ledger.latest_dataset("bottle"), ledger.dataset("bottle", 2)
    assert latest is not None
    assert (latest.number, latest.sha256) == (3, "d3")
    assert second == ledger.dataset_of("bottle", "d2")
    assert second is not None
    assert second.pointers == {"data/bottle/train.dvc": "outs:\n"}
    assert ledger.dataset("bottle", 4) is ledger.dataset_of("cable", "d1") is ledger.latest_dataset("screw") is None


def test_a_bank_is_recorded_once_and_never_with_another_content(ledger: Ledger) -> None:
    _bank(ledger, 1)
    with pytest.raises(Refused, match="another content"):
        _bank(ledger, 1, bank_sha256="other")
    with pytest.raises(Refused, match="does not take the record"):
        _bank(ledger, 4, dataset_sha256="never recorded")
    bank = ledger.bank("bottle", 1)
    assert bank is not None
    assert bank.sha256 == "bank1"
    assert ledger.bank("bottle", 4) is None


def test_production_is_the_last_decision_that_changed_it(ledger: Ledger) -> None:
    assert ledger.production("bottle") is None
    _promote(ledger, 1, None)
    _promote(ledger, 2, 1)
    _promote(ledger, 3, None, "refuse")  # changes nothing, so that it expects nothing
    _promote(ledger, 1, 2, "rollback")
    production = ledger.production("bottle")
    assert production is not None
    assert (production.version, production.bank_sha256, production.until) == (
        1,
        "bank1",
        None,
    )
    story = [(entry.action, entry.from_version, entry.to_version) for entry in ledger.history("bottle")]
    assert story == [("promote", None, 1), ("promote", 1, 2), ("refuse", 2, 3), ("rollback", 2, 1)]
    assert [entry.action for entry in ledger.decisions_for("bottle", 1)] == ["promote", "rollback"]
    assert ledger.history("bottle")[0].verdict["reasons"] == ["image AUROC 0.99 >= 0.9"]
    assert ledger.history("bottle")[0].forced is False


def test_production_at_a_time_says_since_and_until(ledger: Ledger) -> None:
    before = datetime.now(UTC)
    _promote(ledger, 1, None)
    between = datetime.now(UTC)
    _promote(ledger, 2, 1)
    first, second = ledger.history("bottle")
    found = ledger.production_at("bottle", between.astimezone())
    assert found is not None
    assert (found.version, found.since, found.until) == (1, first.at, second.at)
    late = ledger.production_at("bottle", between + timedelta(days=1))
    assert late is not None
    assert (late.version, late.until) == (2, None)
    assert ledger.production_at("bottle", before - timedelta(days=1)) is None
    with pytest.raises(UsageError, match="no time zone"):
        ledger.production_at("bottle", datetime(2026, 1, 1))


def test_a_promotion_that_comes_too_late_is_refused_with_the_winner(ledger: Ledger) -> None:
    _promote(ledger, 1, None)
    _promote(ledger, 2, 1)
    with pytest.raises(Refused, match=r"bank 2, made so by ann at .* expected bank 1"):
        _promote(ledger, 3, 1)
    assert len(ledger.history("bottle")) == 2


def test_a_decision_about_a_bank_that_was_never_recorded_is_refused(ledger: Ledger) -> None:
    with pytest.raises(Refused, match="FOREIGN KEY"):
        _promote(ledger, 9, None)


def test_a_batch_comes_back_with_its_images_bit_by_bit(ledger: Ledger) -> None:
    recorded = ledger.record_batch(_batch(), IMAGES)
    found = ledger.batch("4711")
    assert found is not None
    assert found.record == recorded
    assert found.images == tuple(sorted(IMAGES, key=lambda row: row.path))
    assert ledger.batch("4712") is None


def test_an_image_and_a_bank_lead_to_their_batches(ledger: Ledger) -> None:
    ledger.record_batch(_batch(), IMAGES)
    ledger.record_batch(_batch(IMAGES[:1], batch="4712", bank_version=2, bank_sha256="bank2"), IMAGES[:1])
    seen = [(record.batch.batch, record.image.score) for record in ledger.image("b" * 64)]
    assert seen == [("4711", 0.1 + 0.2), ("4712", 0.1 + 0.2)]
    assert ledger.image("f" * 64) == []
    assert [record.batch for record in ledger.batches_of_bank("bottle", 2)] == ["4712"]
    assert ledger.batches_of_bank("bottle", 3) == []


def test_the_same_batch_again_returns_the_first_record_and_another_is_refused(ledger: Ledger) -> None:
    first = ledger.record_batch(_batch(), IMAGES)
    assert ledger.record_batch(_batch(who="bob"), IMAGES) == first
    with pytest.raises(Refused, match="recorded already"):
        ledger.record_batch(_batch(IMAGES[:1]), IMAGES[:1])
    with pytest.raises(Refused, match="recorded already"):
        ledger.record_batch(_batch(bank_version=2, bank_sha256="bank2"), IMAGES)
    assert len(ledger.image("b" * 64)) == 1


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        (IMAGES, {"received": 4}),
        (IMAGES, {"scored": 3, "failed": 0}),
        (IMAGES, {"images_sha256": "0" * 64}),
        (IMAGES, {"bank_sha256": "bank2"}),
        (IMAGES, {"dataset_sha256": "d2"}),
        ((replace(IMAGES[0], score=float("nan")),), {}),
        ((replace(IMAGES[0], p_value=1.5),), {}),
        ((replace(IMAGES[0], reason="scored and failed"),), {}),
        ((replace(IMAGES[2], reason=None),), {}),
        ((IMAGES[0], IMAGES[0]), {}),
        ((replace(IMAGES[0], path="\udcff.png"),), {}),
    ],
)
def test_a_batch_that_contradicts_itself_leaves_nothing(
    ledger: Ledger, rows: Sequence[ImageScore], changes: dict[str, Any]
) -> None:
    with pytest.raises(Refused):
        ledger.record_batch(_batch(rows, **changes), rows)
    assert ledger.batch("4711") is None
    assert ledger.image("b" * 64) == []


def test_the_database_itself_checks_that_received_is_scored_and_failed(ledger: Ledger, file: Path) -> None:
    ledger.record_batch(_batch(), IMAGES)
    with sqlite3.connect(file) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(batches)") if row[1] != "id"]
        values = [{"batch": "'4712'", "received": "received + 1"}.get(column, column) for column in columns]
        query = f"INSERT INTO batches ({', '.join(columns)}) SELECT {', '.join(values)} FROM batches"  # noqa: S608
        with pytest.raises(sqlite3.IntegrityError, match="received = scored"):
            database.execute(query)
        database.execute(query.replace("received + 1", "received"))


@pytest.mark.parametrize("table", ["datasets", "banks", "decisions", "batches", "images"])
def test_the_database_refuses_to_change_or_remove_a_record(ledger: Ledger, file: Path, table: str) -> None:
    ledger.record_batch(_batch(), IMAGES)
    _promote(ledger, 1, None)
    before = _rows(file, table)
    assert before
    column = {"datasets": "sha256", "images": "path"}.get(table, "category")
    attempts = (
        f"UPDATE {table} SET {column} = 'x'",  # noqa: S608
        f"UPDATE OR REPLACE {table} SET id = 1",  # noqa: S608
        f"DELETE FROM {table}",  # noqa: S608
        f"REPLACE INTO {table} SELECT * FROM {table}",  # noqa: S608
    )
    for attempt in attempts:
        with sqlite3.connect(file) as database, pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(attempt)
    assert _rows(file, table) == before


def _rows(file: Path, table: str) -> list[Any]:
    with sqlite3.connect(file) as database:
        return database.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()  # noqa: S608


def test_a_sound_ledger_is_verified_and_its_head_moves(ledger: Ledger) -> None:
    first = ledger.verify()
    assert (first.ok, first.records, first.problems) == (True, 4, ())
    ledger.record_batch(_batch(), IMAGES)
    second = ledger.verify()
    assert (second.ok, second.records) == (True, 8)
    assert first.head != second.head == ledger.verify().head


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("DROP TRIGGER images_no_update", "trigger images_no_update is missing"),
        ("DROP TRIGGER images_no_delete; DELETE FROM images WHERE path = 'a.png'", "3 were written"),
        ("DROP TRIGGER images_no_delete; DELETE FROM images WHERE path = 'a.png'", "batch 4711: 3 received"),
        ("DROP TRIGGER images_no_update; UPDATE images SET path = 'z.png' WHERE path = 'a.png'", "not those"),
        ("DROP TRIGGER banks_no_update; UPDATE banks SET sha256 = 'x' WHERE version = 1", "names a record that is not"),
    ],
)
def test_verify_names_what_was_tampered_with(ledger: Ledger, file: Path, damage: str, words: str) -> None:
    ledger.record_batch(_batch(), IMAGES)
    with sqlite3.connect(file) as database:
        database.executescript(damage)
    verification = ledger.verify()
    assert not verification.ok
    assert any(words in problem for problem in verification.problems), verification.problems


def test_a_ledger_that_can_only_be_read_answers_but_does_not_write(ledger: Ledger, file: Path) -> None:
    _promote(ledger, 1, None)
    reader = Ledger(f"sqlite:///file:{file}?mode=ro&uri=true")
    assert len(reader.history("bottle")) == 1
    with pytest.raises(Fault, match="readonly"):
        reader.check()
    ledger.check()
