"""The stored form of events: keys and values that the digests of existing records depend on."""

from collections.abc import Mapping

import pytest

from patchcore.adapters.ledger.records import Event, EventKind
from patchcore.lifecycle.event_summaries import (
    FailedRetrain,
    IngestSummary,
    QuarantinedImage,
    RetrainOutcome,
    RetrainSummary,
    Summary,
    WithdrawalSummary,
    describe,
    details,
    summary_of,
)

IMAGE = QuarantinedImage("quarantine/part/x.png", "drop/part/x.png", "width: got 1", "a" * 64)
IMAGE_JSON = {
    "path": "quarantine/part/x.png",
    "source": "drop/part/x.png",
    "reason": "width: got 1",
    "sha256": "a" * 64,
}
RETRAIN = RetrainSummary(2, 3, "b" * 64, "run", None, RetrainOutcome.REFUSED, "failed", ("failed: x",), rebuilt=False)
STORED: list[tuple[str, Summary, dict[str, object], str]] = [
    (
        "ingest",
        IngestSummary(2, "c" * 64, 20, 1, (IMAGE,), 0),
        {
            "dataset_version": 2,
            "dataset_sha256": "c" * 64,
            "normals": 20,
            "new_normals": 1,
            "quarantined": [IMAGE_JSON],
            "waiting": 0,
        },
        "part: 1 new normal image, 1 in quarantine; data-set version 2 has 20 normal images",
    ),
    (
        "withdraw",
        WithdrawalSummary("data/part/train/good/1.png", "d" * 64, "a crack", 2, (IMAGE,)),
        {
            "path": "data/part/train/good/1.png",
            "sha256": "d" * 64,
            "reason": "a crack",
            "dataset_version": 2,
            "quarantined": [IMAGE_JSON],
        },
        "part: data/part/train/good/1.png withdrawn (a crack); data-set version 2",
    ),
    (
        "retrain",
        RETRAIN,
        {
            "dataset_version": 2,
            "bank_version": 3,
            "bank_sha256": "b" * 64,
            "run_id": "run",
            "production": None,
            "outcome": "refused",
            "verdict": "failed",
            "reasons": ["failed: x"],
            "rebuilt": False,
        },
        "part: bank version 3 from data-set version 2 did not pass the gate; nothing is in production",
    ),
    (
        "retrain",
        FailedRetrain(("no images",)),
        {"outcome": "failed", "reasons": ["no images"]},
        "part: the retrain ended early: no images",
    ),
]


def event(action: str, summary: Mapping[str, object]) -> Event:
    return Event(1, "part", action, summary, "eva", "2026-06-10T02:00:00.000000Z")


@pytest.mark.parametrize(("action", "summary", "stored", "sentence"), STORED)
def test_a_summary_is_stored_and_read_in_one_form(
    action: str, summary: Summary, stored: dict[str, object], sentence: str
) -> None:
    assert summary.kind == action
    assert summary.to_json() == stored
    assert summary_of(event(action, stored)) == summary
    assert describe(event(action, stored)) == sentence


@pytest.mark.parametrize(
    ("action", "summary"),
    [
        ("ingest", {}),
        ("ingest", {"taken": 3}),
        ("retrain", {"bank_version": "x"}),
        ("withdraw", {"quarantined": 7}),
        ("reconcile", {"was": 1, "is": 2, "repairs": []}),
        ("of a later version", {}),
    ],
)
def test_an_event_of_another_form_has_no_summary(action: str, summary: dict[str, object]) -> None:
    found = event(action, summary)
    assert summary_of(found) is None
    assert describe(found) == f"part: {action}"
    assert details(found) == []


def test_details_name_the_reasons_and_the_images_in_quarantine() -> None:
    assert details(event("ingest", STORED[0][2])) == ["`quarantine/part/x.png`: width: got 1"]
    assert details(event("retrain", STORED[2][2])) == ["failed: x"]


def test_kinds_are_stored_as_they_always_were() -> None:
    assert [kind.value for kind in EventKind] == ["ingest", "retrain", "withdraw", "reconcile", "replay", "export"]
