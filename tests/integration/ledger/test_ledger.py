"""The ledger on a real SQLite file and on a real PostgreSQL server: what it records, and what it refuses."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from patchcore.adapters.ledger import Ledger
from patchcore.adapters.ledger.records import BatchRecord, ImageScore, Member, images_digest
from patchcore.adapters.ledger.tables import KINDS
from patchcore.adapters.ledger.times import now
from patchcore.errors import Refused, UsageError
from tests.support.ledgers import fill
from tests.support.tampering import Owner

IMAGES = (
    ImageScore("b.png", "b" * 64, 0.1 + 0.2, 0.25, False, None),
    ImageScore("a.png", "a" * 64, 7.5, 0.0, True, None),
    ImageScore("broken.png", "c" * 64, None, None, None, "truncated"),
)


@pytest.fixture
def known(ledger: Ledger) -> Ledger:
    """A ledger that knows data-set version 1 and banks 1 to 3 of category bottle."""
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
    ledger.record_bank("bottle", version, run_id="run", git_commit=None, evaluation_sha256="e", metrics={}, **values)


def _promote(ledger: Ledger, version: int, action: Any = "promote", **changes: Any) -> int:
    """Decide on a bank as somebody does who knows what is in production, and return the decision's sequence."""
    production = ledger.production("bottle")
    values: dict[str, Any] = {
        "expected": production.decision if production else None,
        "reason": "t",
        "verdict": {"passed": True, "reasons": ["image AUROC 0.99 >= 0.9"]},
        "who": "ann",
        **changes,
    }
    return ledger.decide("bottle", action, version, f"bank{version}", **values).sequence


def _batch(rows: Sequence[ImageScore] = IMAGES, **changes: Any) -> BatchRecord:
    failed = sum(row.score is None for row in rows)
    record = BatchRecord(
        batch="4711",
        scoring=1,
        category="bottle",
        bank_version=1,
        bank_sha256="bank1",
        dataset_version=1,
        dataset_sha256="d1",
        threshold=5.0,
        false_alarm_rate=0.05,
        calibration_images=40,
        images_sha256=images_digest((row.path, row.sha256) for row in rows),
        received=len(rows),
        scored=len(rows) - failed,
        failed=failed,
        runtime="torch",
        code_version="0.1.0",
        who="ann",
        scored_at=now(),
        run_id="run",
        flow_run_id=None,
        reason=None,
    )
    return replace(record, **changes)


def test_data_set_versions_count_from_one_in_each_category_and_a_content_keeps_its_number(known: Ledger) -> None:
    assert [_dataset(known, name) for name in ("d2", "d1", "d3")] == [2, 1, 3]
    assert _dataset(known, "d2", "cable") == 1
    latest, second = known.latest_dataset("bottle"), known.dataset("bottle", 2)
    assert latest is not None
    assert (latest.number, latest.sha256) == (3, "d3")
    assert second == known.dataset_of("bottle", "d2")
    assert second is not None
    assert second.pointers == {"data/bottle/train.dvc": "outs:\n"}
    assert known.dataset("bottle", 4) is known.dataset_of("cable", "d1") is known.latest_dataset("screw") is None


def test_a_bank_is_recorded_once_and_never_with_another_content(known: Ledger) -> None:
    _bank(known, 1)
    with pytest.raises(Refused, match="another content"):
        _bank(known, 1, bank_sha256="other")
    with pytest.raises(Refused, match="refuses the record"):
        _bank(known, 4, dataset_sha256="never recorded")
    bank = known.bank("bottle", 1)
    assert bank is not None
    assert bank.sha256 == "bank1"
    assert known.bank("bottle", 4) is None


def test_production_is_the_last_decision_that_changed_it(known: Ledger) -> None:
    assert known.production("bottle") is None
    _promote(known, 1)
    _promote(known, 2)
    _promote(known, 3, "refuse", expected=None)  # changes nothing, so that it expects nothing
    _promote(known, 1, "rollback")
    production = known.production("bottle")
    assert production is not None
    assert (production.version, production.bank_sha256, production.until) == (1, "bank1", None)
    story = [(entry.action, entry.from_version, entry.to_version) for entry in known.history("bottle")]
    assert story == [("promote", None, 1), ("promote", 1, 2), ("refuse", 2, 3), ("rollback", 2, 1)]
    assert [entry.action for entry in known.decisions_for("bottle", 1)] == ["promote", "rollback"]
    assert known.history("bottle")[0].verdict["reasons"] == ["image AUROC 0.99 >= 0.9"]
    assert known.history("bottle")[0].forced is False


def test_production_at_a_time_says_since_and_until(known: Ledger) -> None:
    before = datetime.now(UTC)
    _promote(known, 1)
    between = datetime.now(UTC)
    _promote(known, 2)
    first, second = known.history("bottle")
    found = known.production_at("bottle", between.astimezone())
    assert found is not None
    assert (found.version, found.since, found.until) == (1, first.at, second.at)
    late = known.production_at("bottle", between + timedelta(days=1))
    assert late is not None
    assert (late.version, late.until) == (2, None)
    assert known.production_at("bottle", before - timedelta(days=1)) is None
    with pytest.raises(UsageError, match="no time zone"):
        known.production_at("bottle", datetime(2026, 1, 1))


def test_a_promotion_that_comes_too_late_is_refused_with_the_winner(known: Ledger) -> None:
    first = _promote(known, 1)
    _promote(known, 2)
    with pytest.raises(Refused, match=r"bank 2, by ann at .* expected production as it was"):
        _promote(known, 3, expected=first)
    _promote(known, 1, "rollback")
    with pytest.raises(Refused, match="bank 1, by ann"):  # bank 1 again, but by another decision
        _promote(known, 3, expected=first)
    assert len(known.history("bottle")) == 3


def test_a_decision_about_a_bank_that_was_never_recorded_is_refused(known: Ledger) -> None:
    with pytest.raises(Refused, match=r"(?i)foreign key"):
        _promote(known, 9)
    assert known.verify().ok


def test_a_batch_comes_back_with_its_images_bit_by_bit(known: Ledger) -> None:
    recorded = known.record_batch(_batch(), IMAGES)
    found = known.batch("4711")
    assert found is not None
    assert found.record == recorded
    assert found.images == tuple(sorted(IMAGES, key=lambda row: row.path))
    assert known.batch("4712") is None


def test_a_score_of_minus_zero_is_kept_as_zero_and_verified(known: Ledger) -> None:
    image = ImageScore("a.png", "a" * 64, -0.0, 1.0, False, None)
    known.record_batch(_batch([image], threshold=-0.0), [image])
    found = known.batch("4711")
    assert found is not None
    assert [math.copysign(1, value) for value in (found.images[0].score or 0.0, found.record.threshold)] == [1, 1]
    assert known.verify().problems == ()


def test_a_ledger_without_records_has_no_checkpoint(ledger: Ledger) -> None:
    with pytest.raises(Refused, match="a ledger without records"):
        ledger.checkpoint()
    assert (ledger.checkpoints(), ledger.verify().ok) == ([], True)


def test_an_image_and_a_bank_lead_to_their_batches(known: Ledger) -> None:
    known.record_batch(_batch(), IMAGES)
    known.record_batch(_batch(IMAGES[:1], batch="4712", bank_version=2, bank_sha256="bank2"), IMAGES[:1])
    seen = [(record.batch.batch, record.image.score) for record in known.image("b" * 64)]
    assert seen == [("4711", 0.1 + 0.2), ("4712", 0.1 + 0.2)]
    assert known.image("f" * 64) == []
    assert [record.batch for record in known.batches_of_bank("bottle", 2)] == ["4712"]
    assert known.batches_of_bank("bottle", 3) == []


def test_the_same_batch_again_returns_the_first_record_and_another_is_refused(known: Ledger) -> None:
    first = known.record_batch(_batch(), IMAGES)
    assert known.record_batch(_batch(who="bob"), IMAGES) == first
    with pytest.raises(Refused, match="recorded already"):
        known.record_batch(_batch(IMAGES[:1]), IMAGES[:1])
    with pytest.raises(Refused, match="recorded already"):
        known.record_batch(_batch(bank_version=2, bank_sha256="bank2"), IMAGES)
    assert len(known.image("b" * 64)) == 1


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
    known: Ledger, rows: Sequence[ImageScore], changes: dict[str, Any]
) -> None:
    with pytest.raises(Refused):
        known.record_batch(_batch(rows, **changes), rows)
    assert known.batch("4711") is None
    assert known.image("b" * 64) == []


def test_a_batch_is_scored_again_only_where_that_is_meant_and_the_first_scoring_stays(known: Ledger) -> None:
    first = known.record_batch(_batch(), IMAGES)
    changes = {"bank_version": 2, "bank_sha256": "bank2", "reason": "bank 1 missed scratches"}
    second = known.record_batch(_batch(IMAGES, **changes), IMAGES, rescored=True)
    assert (second.scoring, second.reason) == (2, "bank 1 missed scratches")
    assert known.scorings("4711") == [first, second]
    latest, earlier = known.batch("4711"), known.batch("4711", 1)
    assert latest is not None
    assert earlier is not None
    assert (latest.record, earlier.record) == (second, first)
    assert latest.images == earlier.images
    assert [record.batch.scoring for record in known.image("a" * 64)] == [1, 2]
    assert known.batch("4711", 3) is None


def test_an_override_is_a_record_of_its_own_and_hides_nothing(known: Ledger) -> None:
    known.record_batch(_batch(), IMAGES)
    first = known.record_override("4711", "a.png", anomalous=False, reason="only dust", who="eve")
    assert (first.old, first.new, first.who, first.scoring) == (True, False, "eve", 1)
    second = known.record_override("4711", "a.png", anomalous=True, reason="no, a scratch", who="bob")
    assert known.overrides("4711") == [first, second]
    batch = known.batch("4711")
    assert batch is not None
    assert batch.images[0].anomalous is True
    for path, anomalous in (("a.png", True), ("broken.png", True), ("gone.png", True)):
        with pytest.raises(Refused, match="is not changed"):
            known.record_override("4711", path, anomalous=anomalous, reason="r", who="eve")
    with pytest.raises(Refused, match="is not changed"):
        known.record_override("4712", "a.png", anomalous=True, reason="r", who="eve")
    assert len(known.overrides("4711")) == 2


def test_an_override_of_a_scoring_that_is_no_longer_the_last_is_refused(known: Ledger) -> None:
    known.record_batch(_batch(), IMAGES)
    known.record_batch(_batch(reason="again"), IMAGES, rescored=True)
    with pytest.raises(Refused, match="got scoring 2 since, expected scoring 1 as the last"):
        known.record_override("4711", "a.png", anomalous=False, reason="dust", who="eve", scoring=1)
    assert known.record_override("4711", "a.png", anomalous=False, reason="dust", who="eve", scoring=2).scoring == 2


def test_what_happened_is_kept_in_its_order(known: Ledger) -> None:
    first = known.record_event("bottle", "ingest", {"taken": 3}, who="ann")
    second = known.record_event("bottle", "retrain", {"bank_version": 2}, who="ann")
    known.record_event("cable", "ingest", {}, who="ann")
    assert known.events("bottle") == [first, second]
    assert known.events("bottle", "retrain") == [second]
    assert first.sequence < second.sequence


def test_two_banks_are_compared_over_the_batches_that_both_scored(known: Ledger) -> None:
    known.record_batch(_batch(), IMAGES)
    kinder = (replace(IMAGES[1], score=1.0, anomalous=False), IMAGES[0], IMAGES[2])
    again = {"bank_version": 2, "bank_sha256": "bank2", "reason": "again"}
    known.record_batch(_batch(kinder, **again), kinder, rescored=True)
    known.record_batch(_batch(IMAGES[:1], batch="4712", **(again | {"reason": None})), IMAGES[:1])
    (found,) = known.comparison("bottle", 1, 2).disagreements
    assert (found.batch, found.path, found.first_anomalous, found.second_anomalous) == ("4711", "a.png", True, False)
    assert (found.first_score, found.second_score) == (7.5, 1.0)
    assert known.comparison("bottle", 1, 3).disagreements == ()


def test_a_data_set_version_has_the_images_that_came_less_those_that_went(known: Ledger) -> None:
    one, two, three = (Member(f"train/{name}.png", name * 64, "train") for name in "123")
    kept = {"normals": 2, "evaluation_images": 0, "pointers": {}, "git_commit": None, "who": "ann"}
    for sha256, images in (("m1", [one, two]), ("m2", [two, three]), ("m3", [one, two, three])):
        known.record_dataset("cable", sha256, images=images, **kept)  # type: ignore[arg-type]
    assert [known.members("cable", number) for number in (1, 2, 3)] == [[one, two], [two, three], [one, two, three]]
    first, again = known.memberships("1" * 64)
    assert (first.first, first.last, again.first, again.last) == (1, 1, 3, None)
    assert [(found.first, found.last) for found in known.memberships("2" * 64)] == [(1, None)]
    assert known.memberships("9" * 64) == []


def test_a_data_set_version_that_came_back_is_the_present_one_since_the_record_that_says_so(known: Ledger) -> None:
    one, two = (Member(f"train/{name}.png", name * 64, "train") for name in "12")
    kept = {"normals": 2, "evaluation_images": 0, "pointers": {}, "git_commit": None, "who": "ann"}
    assert known.present_dataset("cable") is None

    def present() -> tuple[int, int]:
        found = known.present_dataset("cable")
        assert found is not None
        return found.version.number, found.since

    def memberships(member: Member) -> list[tuple[int, int | None, bool]]:
        return [(each.first, each.last, each.present) for each in known.memberships(member.sha256)]

    for sha256, images in (("m1", [one]), ("m2", [one, two]), ("m3", [one])):
        known.record_dataset("cable", sha256, images=images, **kept)  # type: ignore[arg-type]
    number, since = present()
    assert number == 3
    assert memberships(two) == [(2, 2, False)]
    back = known.record_event("cable", "ingest", {"dataset_version": 2}, who="ann")
    assert present() == (2, back.sequence)
    known.record_event("cable", "retrain", {"dataset_version": 3}, who="ann")  # says nothing of what is held now
    known.record_event("cable", "ingest", {"dataset_version": 2, "quarantined": []}, who="ann")
    assert present() == (2, back.sequence)
    assert memberships(two) == [(2, 2, True)]  # not None: version 3 has it not
    assert memberships(one) == [(1, None, True)]
    gone = known.record_event("cable", "withdraw", {"dataset_version": 1}, who="ann")
    assert present() == (1, gone.sequence)
    assert gone.sequence > back.sequence > since
    assert memberships(two) == [(2, 2, False)]
    assert memberships(one) == [(1, None, True)]


def test_the_database_itself_checks_that_received_is_scored_and_failed(known: Ledger, ledger_url: str) -> None:
    known.record_batch(_batch(), IMAGES)
    owner = Owner(ledger_url)
    with pytest.raises(DBAPIError, match=r"(?i)check constraint"), owner.at_work() as connection:
        connection.execute(text("UPDATE batches SET received = received + 1"))


@pytest.mark.parametrize("table", ["chain", *KINDS])
def test_the_database_refuses_to_change_or_remove_a_record(ledger: Ledger, ledger_url: str, table: str) -> None:
    fill(ledger).checkpoint()
    owner = Owner(ledger_url)
    if table == "archives":
        owner.run("INSERT INTO archives SELECT 1, 1, 1, 0, 'n', 's', 'w', 'a'")
    before = owner.rows(f"SELECT * FROM {table} ORDER BY sequence")  # noqa: S608
    assert before
    attempts = [f"UPDATE {table} SET sequence = sequence + 1000", f"DELETE FROM {table}"]  # noqa: S608
    if ledger_url.startswith("sqlite"):
        attempts += [f"UPDATE OR REPLACE {table} SET sequence = 1", f"REPLACE INTO {table} SELECT * FROM {table}"]  # noqa: S608
    else:
        attempts += [f"TRUNCATE {table} CASCADE"]
    for attempt in attempts:
        with (
            pytest.raises(Refused, match="append-only"),
            owner.database.writing() as connection,
        ):
            connection.execute(text(attempt))
    assert owner.rows(f"SELECT * FROM {table} ORDER BY sequence") == before  # noqa: S608
