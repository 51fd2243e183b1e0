"""A person decides otherwise: a record of its own, and what the bank said stays."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from patchcore.adapters.ledger.records import RecordedBatch
from patchcore.config.workspace import Workspace
from patchcore.errors import Refused, UsageError
from patchcore.lifecycle.batch_lookup import require_batch
from patchcore.lifecycle.scoring import overrides
from patchcore.lifecycle.scoring.overrides import override
from patchcore.lifecycle.services import Services, open_services

Done = CompletedProcess[str]
Run = Callable[..., Done]
Copy = Callable[[Workspace, Path], Workspace]


@pytest.fixture
def services(grown: tuple[Workspace, list[Done]], copy: Copy, tmp_path: Path) -> Services:
    return open_services(copy(grown[0], tmp_path / "workspace").root)


@pytest.fixture
def image(grown: tuple[Workspace, list[Done]]) -> dict[str, Any]:
    """An image of batch `first` that the bank calls anomalous."""
    images: list[dict[str, Any]] = json.loads(grown[1][0].stdout)["images"]
    return next(image for image in images if image["anomalous"])


def test_an_override_says_who_why_old_and_new_and_hides_nothing(
    services: Services, image: dict[str, Any], run: Run
) -> None:
    before = services.ledger.batch("first")
    words = ("override", "first", Path(image["path"]).name, "--normal", "--reason", "dust on the lens")
    done = run(*words, "--json", "-w", services.workspace.root)
    value = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (value["old"], value["new"], value["reason"], value["who"]) == (True, False, "dust on the lens", "tester")
    assert (value["batch"], value["scoring"], value["path"]) == ("first", 1, image["path"])
    assert (value["bank"]["anomalous"], value["bank"]["score"]) == (True, image["score"])
    (record,) = services.ledger.overrides("first")
    assert record.new is False
    assert services.ledger.batch("first") == before


@pytest.mark.parametrize("key", ["path", "name", "sha256", "SHA256"])
def test_an_image_is_named_by_path_by_name_or_by_digest(services: Services, image: dict[str, Any], key: str) -> None:
    names = {**image, "name": Path(image["path"]).name, "SHA256": image["sha256"].upper()}
    assert override(services, "first", names[key], anomalous=False, reason="dust").path == image["path"]


def test_a_decision_can_be_taken_back_but_not_twice(services: Services, image: dict[str, Any]) -> None:
    for anomalous in (False, True):
        override(services, "first", image["sha256"], anomalous=anomalous, reason="second look")
        with pytest.raises(Refused, match="already"):
            override(services, "first", image["sha256"], anomalous=anomalous, reason="second look")
    assert [(entry.old, entry.new) for entry in services.ledger.overrides("first")] == [(True, False), (False, True)]


def test_a_batch_that_was_scored_again_since_somebody_looked_is_not_overridden(
    services: Services, image: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_and_be_overtaken(services: Services, batch: str) -> RecordedBatch:
        found = require_batch(services, batch)
        again = replace(found.record, reason="a second look")
        services.ledger.record_batch(again, found.images, rescored=True)
        return found

    monkeypatch.setattr(overrides, "require_batch", look_and_be_overtaken)
    with pytest.raises(Refused, match="got scoring 2 since, expected scoring 1 as the last"):
        override(services, "first", image["sha256"], anomalous=False, reason="dust")
    assert services.ledger.overrides("first") == []


def test_what_names_no_image_is_refused(services: Services) -> None:
    with pytest.raises(Refused, match=r"nobody\.png names no image of batch first"):
        override(services, "first", "nobody.png", anomalous=False, reason="dust")
    with pytest.raises(Refused, match="no batch '4711' in the ledger"):
        override(services, "4711", "nobody.png", anomalous=False, reason="dust")


def test_a_reason_of_blanks_is_none(services: Services, image: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no reason is given"):
        override(services, "first", image["path"], anomalous=False, reason="  ")
    assert services.ledger.overrides("first") == []


@pytest.mark.parametrize("missing", ["--normal", "--reason"])
def test_decision_and_reason_are_both_needed(promoted: Workspace, run: Run, missing: str) -> None:
    given = [word for word in ("--normal", "--reason", "dust") if word != missing]
    done = run(
        "override", "first", "a.png", *([] if missing == "--reason" and given.pop() else given), "-w", promoted.root
    )
    assert (done.returncode, done.stdout) == (2, "")
    words = "--normal or --anomalous" if missing == "--normal" else "Missing option '--reason'"
    assert words in done.stderr


def test_a_person_sees_both_decisions(services: Services, image: dict[str, Any], run: Run) -> None:
    words = ("override", "first", image["path"], "--normal", "--reason", "dust", "-w", services.workspace.root)
    shown = run(*words).stdout
    assert "ANOMALOUS, score" in shown
    assert "tester" in shown


def test_two_decisions_at_once_are_a_wrong_use_and_record_nothing(
    services: Services, image: dict[str, Any], run: Run
) -> None:
    words = ("override", "first", image["path"], "--normal", "--anomalous", "--reason", "dust")
    done = run(*words, "--json", "-w", services.workspace.root)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"], error["got"]) == (2, "contradicting-options", "both")
    assert services.ledger.overrides("first") == []
