"""What a person sees: tables as they reach a file, and the words in them."""

from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any, TypeVar

import pytest

from patchcore.adapters.ledger.records import BankRecord, BatchRecord, Override
from patchcore.cli.display import audit, scoring
from patchcore.cli.display.tables import image_names
from patchcore.cli.display.terminal import counted, show_pairs, show_table
from patchcore.lifecycle.audit.results import BatchAnswer
from patchcore.lifecycle.scoring.results import ScoreResult

Caught = Callable[[Callable[[], int]], CompletedProcess[str]]
Value = TypeVar("Value")


def seen(caught: Caught, show: Callable[[Value], None], value: Value) -> str:
    """Return what a person sees of a value."""

    def work() -> int:
        show(value)
        return 0

    return caught(work).stdout


def test_a_table_in_a_file_has_no_blanks_at_the_end_of_a_line(caught: Caught) -> None:
    def work() -> int:
        show_table("a title", ("name", "words"), [("one", "short"), ("two", "a sentence " * 20)])
        show_pairs("pairs", [("name", "value")])
        return 0

    lines = caught(work).stdout.splitlines()
    assert len(lines) > 10
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize(("number", "words"), [(0, "0 batches"), (1, "1 batch"), (2, "2 batches")])
def test_a_number_agrees_with_its_noun(number: int, words: str) -> None:
    assert counted(number, "batch", "batches") == words
    assert counted(number, "bank") == f"{number} bank{'' if number == 1 else 's'}"


def test_images_go_by_their_file_names_until_two_share_one() -> None:
    assert image_names(["line/a.png", "line/late/b.png"]) == {"line/a.png": "a.png", "line/late/b.png": "b.png"}
    paths = ["/fab/line/left/a.png", "/fab/line/right/a.png", "/fab/line/right/b.png"]
    assert list(image_names(paths).values()) == ["left/a.png", "right/a.png", "b.png"]
    assert image_names(["part/a.png", "/fab/a.png"]) == {"part/a.png": "part/a.png", "/fab/a.png": "/fab/a.png"}
    assert image_names(["a.png"]) == {"a.png": "a.png"}
    assert image_names([]) == {}


def image(path: str, *, anomalous: bool = False) -> dict[str, object]:
    return {"path": path, "score": 9.0 if anomalous else 1.0, "p_value": 0.5, "anomalous": anomalous}


def scoring_of(**changes: Any) -> BatchRecord:
    values: dict[str, Any] = {
        "batch": "4711",
        "scoring": 1,
        "category": "cell",
        "bank_version": 1,
        "bank_sha256": "b" * 64,
        "dataset_version": 1,
        "dataset_sha256": "d" * 64,
        "threshold": 5.0,
        "false_alarm_rate": 0.1,
        "calibration_images": 10,
        "images_sha256": "i" * 64,
        "received": 3,
        "scored": 3,
        "failed": 0,
        "runtime": "torch",
        "code_version": "1",
        "who": "eva",
        "scored_at": "2026-11-25T22:59:07.738708Z",
        "run_id": "r",
        "flow_run_id": None,
        "reason": None,
    }
    return BatchRecord(**{**values, **changes})


def test_a_scored_batch_tells_images_of_one_name_apart_and_which_scoring_it_is(
    caught: Caught,
) -> None:
    first, second = scoring_of(), scoring_of(scoring=2, reason="lens was cleaned")
    images = (image("line/left/a.png", anomalous=True), image("line/right/a.png"), image("line/left/b.png"))
    result = ScoreResult.model_validate(
        {
            **{name: value for name, value in vars(second).items() if name != "failed"},
            "images": [{**each, "sha256": "0" * 64} for each in images],
            "failed": [],
            "recorded_before": True,
            "reconciled": [],
            "anchored": {"size": 1, "head": "h", "places": [], "failures": []},
            "scorings": [first, second],
        }
    )
    shown = seen(caught, scoring.scored, result)
    assert shown.startswith("  batch 4711, scoring 2: cell, bank version 1\n")
    assert all(f"│ {name} " in shown for name in ("left/a.png", "right/a.png", "b.png"))
    assert "│ 1       │ 2026-11-25 22:59:07.738708Z │" in shown
    assert "scored before, at 2026-11-25 22:59:07.738708Z:" in shown
    once = seen(caught, scoring.scored, result.model_copy(update={"scoring": 1, "scorings": (first,)}))
    assert once.startswith("  batch 4711: cell, bank version 1\n")


def test_the_images_of_a_batch_begin_with_what_failed_and_what_is_anomalous(caught: Caught) -> None:
    scored = [image("line/a.png"), image("line/b.png", anomalous=True), image("line/c.png")]
    record = scoring_of(scoring=2, reason="lens was cleaned")
    values = (record.category, record.bank_version, record.bank_sha256, 1, "d" * 64, "r", None, "2026", None, None)
    said = {"batch": "4711", "old": False, "new": True, "reason": "seen", "who": "eva", "at": "2026"}
    value = BatchAnswer.model_validate(
        {
            **{name: value for name, value in vars(record).items() if name != "failed"},
            "images": [{**each, "sha256": "0" * 64} for each in scored],
            "failed": [{"path": "line/torn.png", "sha256": None, "reason": "got a truncated file"}],
            "scorings": [record],
            "archived": False,
            "overrides": [
                Override(sequence=8, scoring=1, path="line/a.png", **said),  # type: ignore[arg-type]
                Override(sequence=9, scoring=2, path="line/c.png", **said),  # type: ignore[arg-type]
            ],
            "bank": BankRecord(*values),
            "dataset": None,
            "dataset_images": None,
            "promotion": None,
        }
    )
    lines = [line for line in seen(caught, audit._own_images, value).splitlines() if ".png" in line]
    cells = [[cell.strip() for cell in line.strip(" │").split("│")] for line in lines]
    assert [(row[0], row[-1]) for row in cells] == [
        ("torn.png", "failed: got a truncated file"),
        ("b.png", "ANOMALOUS"),
        ("a.png", "normal"),
        ("c.png", "normal, then ANOMALOUS"),
    ]
