"""What a retrain decides about, records and tells, without stages: banks stand in the registry already."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from patchcore._util.files import sha256_of
from patchcore.adapters.ledger.records import Event
from patchcore.errors import Fault
from patchcore.lifecycle.anchor_result import AnchorResult
from patchcore.lifecycle.dataset_records import record_dataset
from patchcore.lifecycle.intake.retrain_trigger import due_work, situation
from patchcore.lifecycle.production import promotion
from patchcore.lifecycle.production.registration import RegisteredBank
from patchcore.lifecycle.services import Services
from tests.support.registered_banks import CATEGORY, promote, register
from tests.support.servers import free_port

Draw = Callable[..., NDArray[np.uint8]]
Told = list[str]
_TASKS = ("check_services", "run_stage", "commit", "record_images", "decide")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What the webhook hears; flows and tasks are functions, without Prefect's engine."""
    from flows import artifacts, ingest, publish, retrain

    said: Told = []
    for name in _TASKS:
        monkeypatch.setattr(retrain, name, getattr(retrain, name).fn)
    for name in ("take", "track", "push", "number"):
        monkeypatch.setattr(ingest, name, getattr(ingest, name).fn)
    monkeypatch.setattr(publish, "log_runs", publish.log_runs.fn)
    for module in (ingest, retrain):
        monkeypatch.setattr(module, "anchor_ledger", lambda _: AnchorResult(size=0, head="", places=(), failures=()))
    for name in ("create_markdown_artifact", "create_table_artifact"):
        monkeypatch.setattr(artifacts, name, lambda **_: None)
    monkeypatch.setattr(publish, "notify", lambda _, text: said.append(text))
    return said


@pytest.fixture
def without_stages(candidates: Services, told: Told, monkeypatch: pytest.MonkeyPatch) -> Services:
    """A category whose retrain comes to bank version 1, nothing in production yet."""
    from flows import retrain as module

    bank = candidates.ledger.bank(CATEGORY, 1)
    assert bank is not None
    found = RegisteredBank(bank, {}, threshold=1.0, new=True)
    monkeypatch.setattr(module, "register", lambda *_: found)
    monkeypatch.setattr(module, "push", lambda _: None)
    monkeypatch.setattr(type(candidates.versioning), "stages_to_run", lambda *_: [])
    for name in ("note_arrivals", "commit_reports"):
        monkeypatch.setattr(module, name, lambda *_, **__: None)
    return candidates


def retrain(services: Services, **options: bool) -> dict[str, Any]:
    from flows.retrain import retrain as flow

    return flow.fn(str(services.workspace.root), CATEGORY, **options).model_dump()


def outcomes(services: Services) -> list[str]:
    return [str(event.summary["outcome"]) for event in services.ledger.events(CATEGORY, "retrain")]


def bad_image(services: Services, draw: Draw) -> Path:
    """Bring one more image into the category, and the bank of that, version 4, into production."""
    image = services.workspace.good_normals(CATEGORY) / "bad.png"
    Image.fromarray(draw(900)).save(image)
    register(services, 4)
    promote(services, 4)
    return image


def withdraw(services: Services, image: Path) -> Event:
    summary = {"path": image.name, "sha256": sha256_of(image), "reason": "a crack", "dataset_version": 1}
    image.unlink()
    return services.ledger.record_event(CATEGORY, "withdraw", summary, who="ann")


def undone(services: Services) -> str | None:
    return situation(services, CATEGORY, datetime.now(UTC)).unfinished


def test_after_a_withdrawal_the_bank_of_before_is_judged_anew_and_replaces_the_one_with_the_image(
    without_stages: Services, told: Told, draw: Draw
) -> None:
    services = without_stages
    retrain(services)
    image = bad_image(services, draw)
    assert undone(services) is None
    withdraw(services, image)
    assert undone(services) is not None
    assert due_work(services, CATEGORY, datetime.now(UTC)).work == "retrain"
    result = retrain(services)
    assert (result["promoted"], result["production"]) == (True, 1)
    last = services.ledger.history(CATEGORY)[-1]
    assert (last.action, last.from_version, last.to_version) == ("promote", 4, 1)
    assert any("version 4 in production" in reason for reason in last.verdict["reasons"])
    assert last.reason == "retrained: its images are the present ones again"
    assert outcomes(services) == ["promoted", "promoted"]
    assert told[-1] == "part: bank version 1 from data-set version 1 is in production"
    assert undone(services) is None
    assert retrain(services)["promoted"] is False
    assert (len(services.ledger.history(CATEGORY)), outcomes(services)) == (3, ["promoted", "promoted"])


def test_a_bank_that_a_person_went_back_from_stays_out_when_its_images_are_back(
    without_stages: Services, draw: Draw, capfd: pytest.CaptureFixture[str]
) -> None:
    services = without_stages
    promote(services, 2)
    retrain(services)
    promotion.rollback(services, CATEGORY, reason="it missed a crack")
    withdraw(services, bad_image(services, draw))
    result = retrain(services)
    assert (result["promoted"], result["production"]) == (False, 4)
    assert "bank version 1 of part was judged before and stays out of production" in capfd.readouterr().err


def test_images_that_a_person_restored_are_recorded_by_the_retrain_that_finds_them(
    without_stages: Services, told: Told, draw: Draw
) -> None:
    services = without_stages
    retrain(services)
    bad_image(services, draw).unlink()
    assert undone(services) == "the images are not those of the data-set version that was recorded last"
    assert retrain(services)["production"] == 1
    (event,) = services.ledger.events(CATEGORY, "ingest")
    assert (event.summary["dataset_version"], event.summary["new_normals"]) == (1, 0)
    assert [text.partition(";")[2] for text in told] == ["", " data-set version 1 has 20 normal images", ""]


def test_what_a_killed_run_left_is_work_for_the_schedule(candidates: Services, draw: Draw) -> None:
    promote(candidates, 1)
    assert undone(candidates) is None
    image = candidates.workspace.good_normals(CATEGORY) / "fresh.png"
    Image.fromarray(draw(900)).save(image)
    assert undone(candidates) == "the images are not those of the data-set version that was recorded last"
    assert record_dataset(candidates, CATEGORY).number == 2
    assert undone(candidates) == "data-set version 2, the present one, has no bank yet"
    register(candidates, 4)
    assert undone(candidates) == "bank version 4, of the present data-set version, is not judged yet"
    promote(candidates, 4)
    assert undone(candidates) is None
    claim = candidates.workspace.drop(CATEGORY) / "deeper/.new.png.patchcore-taking"
    claim.parent.mkdir(parents=True)
    claim.touch()
    assert undone(candidates) == "1 file was being taken when a run was stopped"


def test_a_bank_that_the_gate_refused_is_no_work_for_the_schedule(candidates: Services, draw: Draw) -> None:
    promote(candidates, 1)
    Image.fromarray(draw(900)).save(candidates.workspace.good_normals(CATEGORY) / "fresh.png")
    register(candidates, 4)
    bank = candidates.ledger.bank(CATEGORY, 4)
    assert bank is not None
    candidates.ledger.decide(
        CATEGORY, "refuse", 4, bank.sha256, expected=None, reason="retrained", verdict={"passed": False}, who="ann"
    )
    assert undone(candidates) is None


@pytest.mark.parametrize("broken", ["registry", "drop folder"])
def test_a_scheduled_retrain_that_cannot_look_is_recorded_and_told(
    without_stages: Services, told: Told, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    if broken == "registry":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    else:
        monkeypatch.setattr("patchcore.lifecycle.intake.retrain_trigger.look", _unlistable)
    with pytest.raises(Exception, match="127" if broken == "registry" else "cannot be listed") as raised:
        retrain(without_stages, drop=True)
    (event,) = without_stages.ledger.events(CATEGORY, "retrain")
    assert event.summary == {"outcome": "failed", "reasons": [str(raised.value)]}
    assert told == [f"part: the retrain ended early: {raised.value}"]


def _unlistable(_: Path) -> None:
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize("name", ["publish", "anchor_ledger"])
def test_an_error_after_a_promotion_does_not_record_a_failed_retrain(
    without_stages: Services, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def fail(*_: object) -> None:
        raise Fault("the ledger", "no answer", "an answer", "wait")

    monkeypatch.setattr(f"flows.retrain.{name}", fail)
    with pytest.raises(Fault, match="no answer"):
        retrain(without_stages)
    assert outcomes(without_stages) == ["promoted"]


def test_a_prefect_that_takes_no_pages_is_a_warning(
    without_stages: Services, told: Told, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise RuntimeError("no server")

    monkeypatch.setattr("flows.artifacts.create_markdown_artifact", fail)
    assert retrain(without_stages)["promoted"] is True
    assert (outcomes(without_stages), len(told)) == (["promoted"], 1)
    assert "warning: Prefect does not show a page of this run: RuntimeError: no server" in capfd.readouterr().err


def test_images_that_a_remote_does_not_take_are_recorded_and_told_and_the_command_fails(
    candidates: Services, told: Told, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import ingest as module

    def fail(_: str) -> None:
        raise Fault("DVC remote 'plant' did not take the data", "no route", "a complete push", "check the remote")

    monkeypatch.setattr(module, "track", lambda *_: None)
    monkeypatch.setattr(module, "push", fail)
    drop = candidates.workspace.drop(CATEGORY)
    drop.mkdir(parents=True)
    Image.fromarray(draw(900)).save(drop / "new.png")
    with pytest.raises(Fault, match="did not take the data"):
        module.ingest.fn(str(candidates.workspace.root), CATEGORY)
    (event,) = candidates.ledger.events(CATEGORY, "ingest")
    assert (event.summary["dataset_version"], event.summary["new_normals"]) == (2, 1)
    assert len(told) == 1
    assert undone(candidates) == "data-set version 2, the present one, has no bank yet"
