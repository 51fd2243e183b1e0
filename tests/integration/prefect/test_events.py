"""What ingests and retrains leave behind for others: records in the ledger, commits, pages in Prefect, a webhook."""

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING

import pytest

from patchcore._util.files import read_json
from patchcore.adapters.ledger.records import Event
from patchcore.cli.demo.data import DemoImages
from patchcore.config.workspace import Workspace
from patchcore.errors import Refused
from patchcore.lifecycle import events
from patchcore.lifecycle.event_summaries import describe
from patchcore.lifecycle.git_commits import ingest_message
from patchcore.lifecycle.intake.retrain_trigger import due_work, last_rebuild, situation
from patchcore.lifecycle.production.results import RetrainResult, RetrainSkipped
from patchcore.lifecycle.services import Services, open_services
from tests.integration.prefect.test_flows import latest_artifact
from tests.support.errors import line_of
from tests.support.servers import free_port
from tests.support.webhooks import listening

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

Done = CompletedProcess[str]
Run = Callable[..., Done]
Copy = Callable[[Workspace, Path], Workspace]
Grown = tuple[Workspace, list[Done]]
NOON = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)


def git(workspace: Workspace, *arguments: str) -> str:
    command = ["git", "-C", str(workspace.root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def recorded_events(workspace: Workspace, action: str) -> list[Event]:
    return open_services(workspace.root).ledger.events("cell", action)


def with_params(workspace: Workspace, **changes: str) -> Services:
    text = workspace.params.read_text()
    for key, value in changes.items():
        lines = text.splitlines()
        place = next(place for place, line in enumerate(lines) if line.startswith(f"  {key}:"))
        lines[place] = f"  {key}: {value}"
        text = "\n".join(lines) + "\n"
    workspace.params.write_text(text)
    return open_services(workspace.root)


def test_an_ingest_is_recorded_with_its_version_and_every_image_in_quarantine(grown: Grown) -> None:
    workspace, done = grown
    value = json.loads(done[1].stdout)
    (event,) = recorded_events(workspace, "ingest")
    assert event.who == "tester"
    assert (event.summary["dataset_version"], event.summary["new_normals"], event.summary["normals"]) == (2, 6, 30)
    assert event.summary["dataset_sha256"] == value["dataset_sha256"]
    said = {(each["path"], each["source"], each["reason"]) for each in value["quarantined"]}
    assert {(each["path"], each["source"], each["reason"]) for each in event.summary["quarantined"]} == said
    assert describe(event) == ("cell: 6 new normal images, 4 in quarantine; data-set version 2 has 30 normal images")


def test_the_commit_of_an_ingest_says_what_came_and_holds_the_pointers_alone(grown: Grown, cells: DemoImages) -> None:
    workspace = grown[0]
    commit = git(workspace, "log", "--grep=^Ingest cell", "--format=%H")
    message = git(workspace, "log", "-1", "--format=%B", commit)
    assert message.split("\n")[0] == "Ingest cell: 6 new normal images (data-set version 2), 4 in quarantine"
    assert all(path.name in message for path in cells.new)
    assert "wrong_size.png (width: got 200, expected 300 pixels)" in message
    files = git(workspace, "show", "--name-only", "--format=", commit).split("\n")
    assert files == ["data/cell/arrivals.json", "data/cell/train.dvc"]


def test_the_message_of_an_ingest_names_the_first_and_counts_the_rest() -> None:
    names = [f"{number}\n.png" for number in range(12)]
    message = ingest_message("part", version=3, normals=20, new=names, gone=1, quarantined=["x.png (width: got 1)"])
    subject, new, quarantined = message.split("\n\n")
    assert subject == "Ingest part: 12 new normal images (data-set version 3), 1 gone, 1 in quarantine"
    assert new.split("\n")[1:] == [*(f"{number} .png" for number in range(10)), "and 2 more"]
    assert quarantined == "In quarantine:\nx.png (width: got 1)"
    empty = ingest_message("part", version=3, normals=1, new=[], gone=0, quarantined=[])
    assert empty == "Track the images of part: 1 normal image (data-set version 3)"


def test_a_retrain_is_recorded_with_bank_verdict_and_outcome_once(
    grown: Grown, copy: Copy, run: Run, tmp_path: Path
) -> None:
    workspace = copy(grown[0], tmp_path / "workspace")
    value = json.loads(grown[1][2].stdout)
    first, second = recorded_events(workspace, "retrain")
    assert (first.summary["bank_version"], second.summary["bank_version"]) == (1, 2)
    expected = {key: value[key] for key in ("dataset_version", "bank_version", "bank_sha256", "run_id", "production")}
    reasons = value["gate"]["reasons"]
    assert second.summary == {
        **expected, "outcome": "promoted", "verdict": "passed", "reasons": reasons, "rebuilt": False
    }  # fmt: skip
    assert run("retrain", "cell", "--json", "-w", workspace.root).returncode == 0
    assert run("ingest", "cell", "--json", "-w", workspace.root).returncode == 0
    assert (recorded_events(workspace, "retrain"), len(recorded_events(workspace, "ingest"))) == ([first, second], 1)


def test_what_a_killed_ingest_did_not_record_the_next_one_does(grown: Grown, copy: Copy, tmp_path: Path) -> None:
    workspace = copy(grown[0], tmp_path / "workspace")
    services = open_services(workspace.root)
    dataset = services.ledger.latest_dataset("cell")
    assert dataset is not None
    assert events.record_ingest(services, "cell", dataset, 0) is None
    note = next(workspace.quarantine("cell").glob("*wrong_size.png.reason.json"))
    image = note.with_name("0123456789ab-later.png")
    shutil.copy(note.with_name(note.name.removesuffix(".reason.json")), image)
    image.with_name(f"{image.name}.reason.json").write_text("changed by hand")
    event = events.record_ingest(services, "cell", dataset, 2)
    assert event is not None
    assert (event.summary["new_normals"], event.summary["waiting"]) == (0, 2)
    assert event.summary["quarantined"] == [
        {"path": "quarantine/cell/0123456789ab-later.png", "source": "0123456789ab-later.png",
         "reason": "the note was changed", "sha256": ""}
    ]  # fmt: skip
    assert events.record_ingest(services, "cell", dataset, 2) is None


def test_a_retrain_that_is_refused_is_recorded_shown_and_told_and_a_deaf_webhook_changes_nothing(
    bare: Workspace, copy: Copy, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copy(bare, tmp_path / "workspace")
    with_params(workspace, normals_at_least="99")
    with listening() as hook:
        hook.answers = [200, 404]
        monkeypatch.setenv("PATCHCORE_WEBHOOK_URL", hook.address)
        done = [run("retrain", "cell", "--json", "-w", workspace.root) for _ in range(2)]
    assert [each.returncode for each in done] == [3, 3]
    error = line_of(json.loads(done[0].stdout)["error"])
    assert [event.summary for event in recorded_events(workspace, "retrain")] == [
        {"outcome": "failed", "reasons": [error]}
    ] * 2
    assert [(body["outcome"], body["reasons"]) for body in hook.bodies] == [("failed", [error])] * 2
    warning = "the webhook in PATCHCORE_WEBHOOK_URL did not take the message: it answered 404"
    assert [f"warning: {warning}" in each.stderr for each in done] == [False, True]
    assert warning in latest_artifact("retrain-report-cell")
    assert hook.address not in done[1].stderr + done[1].stdout
    services = open_services(workspace.root)
    shown = runs_of_events(services)
    assert sorted(shown) == [event.sequence for event in services.ledger.events("cell", "retrain")]
    assert {(run.info.status, run.data.tags["outcome"]) for run in shown.values()} == {("FAILED", "failed")}
    assert all(error in run.data.tags["mlflow.note.content"] for run in shown.values())


def runs_of_events(services: Services) -> dict[int, "MlflowRun"]:
    """Return the runs that show what happened, by the number of the ledger's record."""
    client = services.registry._client
    experiment = client.get_experiment_by_name("cell/events")
    found = client.search_runs([experiment.experiment_id]) if experiment else []
    by_record = {int(run.data.tags["ledger_record"]): run for run in found}
    assert len(by_record) == len(found)
    return by_record


def test_mlflow_has_a_run_for_each_ingest_and_retrain_that_says_what_the_ledger_says(grown: Grown) -> None:
    services = open_services(grown[0].root)
    recorded = {event.sequence: event for event in services.ledger.events("cell")}
    runs = runs_of_events(services)
    assert [recorded[number].action for number in sorted(runs)] == ["retrain", "ingest", "retrain"]
    for number, run in runs.items():
        event = recorded[number]
        assert (run.info.status, run.data.tags["event"], run.data.tags["mlflow.user"]) == (
            "FINISHED",
            event.action,
            "tester",
        )
        assert run.data.tags["mlflow.note.content"].startswith(describe(event))
        assert datetime.fromtimestamp(run.info.start_time / 1000, UTC) - datetime.fromisoformat(event.at) < timedelta(
            seconds=1
        )
    ingest, retrain = (runs[number] for number in sorted(runs)[1:])
    assert ingest.data.metrics == {
        "ledger_record": sorted(runs)[1],
        "new_normals": 6,
        "normals": 30,
        "quarantined": 4,
        "waiting": 0,
    }
    assert (retrain.data.tags["outcome"], retrain.data.tags["bank_version"]) == ("promoted", "2")
    bank = services.registry.version("cell", 2)
    assert services.registry._client.get_run(retrain.data.tags["bank_run_id"]).info.run_id == bank.run_id
    content = services.registry._client.download_artifacts(ingest.info.run_id, "event.json")
    assert read_json(Path(content)) == asdict(recorded[sorted(runs)[1]])


def test_what_mlflow_missed_the_next_command_adds(
    bare: Workspace, copy: Copy, run: Run, tmp_path: Path, cells: DemoImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = copy(bare, tmp_path / "workspace")
    (tmp_path / "new").mkdir()
    for image in cells.new:
        shutil.copy(image, tmp_path / "new")
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
        done = run("ingest", "cell", tmp_path / "new", "--json", "-w", workspace.root)
    assert done.returncode == 0, done.stderr
    assert "warning: MLflow does not show the last records of cell yet" in done.stderr
    services = open_services(workspace.root)
    (event,) = services.ledger.events("cell", "ingest")
    assert runs_of_events(services) == {}
    done = run("reconcile", "cell", "--json", "-w", workspace.root)
    line = f"MLflow had no run for record {event.sequence}, ingest; now it has one"
    assert json.loads(done.stdout)["reconciled"] == [line]
    assert list(runs_of_events(services)) == [event.sequence]
    assert json.loads(run("reconcile", "cell", "--json", "-w", workspace.root).stdout)["reconciled"] == []


def test_a_ledger_that_does_not_answer_does_not_keep_a_failure_secret(
    promoted: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = open_services(promoted.root)

    def broken(*_: object, **__: object) -> Event:
        raise Refused("the ledger", "no answer", "an answer", "wait")

    monkeypatch.setattr(type(services.ledger), "record_event", broken)
    event = events.record_failure(services, "cell", ValueError("odd"))
    assert (event.sequence, event.summary["reasons"]) == (0, ["ValueError: odd"])
    assert describe(event) == "cell: the retrain ended early: ValueError: odd"


def test_a_data_set_version_that_was_left_without_a_bank_is_work_to_do(bare: Workspace, promoted: Workspace) -> None:
    words = "data-set version 1, the present one, has no bank yet"
    assert situation(open_services(bare.root), "cell", NOON).unfinished == words
    assert due_work(open_services(bare.root), "cell", NOON).work == "retrain"
    assert situation(open_services(promoted.root), "cell", NOON).unfinished is None


def test_files_that_are_finished_are_what_waits(bare: Workspace, copy: Copy, cells: DemoImages, tmp_path: Path) -> None:
    workspace = copy(bare, tmp_path / "workspace")
    drop = workspace.drop("cell")
    assert situation(open_services(workspace.root), "cell", NOON).waiting == 0
    drop.mkdir(parents=True)
    shutil.copy2(cells.new[0], drop / "a.png")  # with the time of its original
    shutil.copy(cells.new[1], drop / "b.png.part")
    found = situation(open_services(workspace.root), "cell", NOON)
    assert found.waiting == 1
    assert found.oldest_waiting is not None
    assert found.oldest_waiting < timedelta(hours=1)


def test_the_age_of_a_bank_counts_from_the_one_that_was_built_from_nothing(grown: Grown) -> None:
    services = open_services(grown[0].root)
    first, second = services.ledger.banks("cell")
    assert first.at < second.at
    assert last_rebuild(services, "cell") == datetime.fromisoformat(first.at)  # the second one grew


def test_a_rebuild_that_is_due_happens_once_although_nothing_came(
    grown: Grown, copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import retrain as module

    workspace = copy(grown[0], tmp_path / "workspace")
    with_params(workspace, rebuild_after_days="7", settle_seconds="0.1")
    later = datetime.now(UTC) + timedelta(days=8)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return later

    monkeypatch.setattr(module, "datetime", Clock)
    result = module.retrain(str(workspace.root), "cell", drop=True)
    assert isinstance(result, RetrainResult)
    assert (result.bank_version, result.new) == (3, True)
    assert read_json(workspace.build_metrics("cell"))["coreset"]["arrivals"] == 1
    assert recorded_events(workspace, "retrain")[-1].summary["rebuilt"] is True
    assert "last built from nothing 8 days ago, at most 7" in latest_artifact("schedule-cell")
    services = open_services(workspace.root)
    assert last_rebuild(services, "cell") == datetime.fromisoformat(recorded_events(workspace, "retrain")[-1].at)
    assert due_work(services, "cell", datetime.now(UTC) + timedelta(days=6)).work == "nothing"


def test_in_quiet_hours_a_scheduled_retrain_leaves_the_drop_folder_alone(
    promoted: Workspace, copy: Copy, cells: DemoImages, tmp_path: Path
) -> None:
    from flows.retrain import retrain

    workspace = copy(promoted, tmp_path / "workspace")
    with_params(workspace, quiet_hours='["00:00-12:00", "12:00-00:00"]')
    workspace.drop("cell").mkdir(parents=True)
    shutil.copy(cells.new[0], workspace.drop("cell"))
    result = retrain(str(workspace.root), "cell", drop=True)
    assert isinstance(result, RetrainSkipped)
    assert result.reason.startswith("quiet hours")
    assert len(list(workspace.drop("cell").iterdir())) == 1
