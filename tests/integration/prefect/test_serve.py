"""`patchcore serve` against a real Prefect server: what it registers, what a scheduled retrain does, how it stops."""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from patchcore.cli.environment import prepare
from patchcore.config.workspace import Workspace
from patchcore.lifecycle.services import open_services
from tests.support.servers import PATIENCE, Process, ask, call, running, wait_for

EVERY_FLOW = {"ingest/ingest", "promote/promote", "rollback/rollback", "score/score", "retrain/retrain-cell"}


@pytest.fixture(scope="module")
def api(prefect_server: str) -> str:
    return prefect_server


@pytest.fixture(scope="module")
def served(
    promoted: Workspace,
    copy: Callable[[Workspace, Path], Workspace],
    api: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Workspace, Process, Path]]:
    """A workspace, the `patchcore serve` that serves it, and its log."""
    folder = tmp_path_factory.mktemp("served")
    workspace = copy(promoted, folder / "workspace")
    environment = {"PREFECT_API_URL": api, "PREFECT_HOME": str(folder / "prefect")}
    with running(["patchcore", "serve", "-w", str(workspace.root)], folder, environment) as process:
        wait_for(lambda: names(api) == EVERY_FLOW, process)
        yield workspace, process, folder / "log"


def deployments(api: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(f"{api}/deployments/filter", {})
    return found


def names(api: str) -> set[str]:
    flows = {flow["id"]: flow["name"] for flow in ask(f"{api}/flows/filter", {})}
    return {f"{flows.get(each['flow_id'])}/{each['name']}" for each in deployments(api)}


def test_the_deployments_are_every_flow_and_a_schedule_from_the_parameters(
    bare: Workspace, copy: Callable[[Workspace, Path], Workspace], tmp_path: Path
) -> None:
    workspace = copy(bare, tmp_path / "workspace")
    text = workspace.params.read_text()
    assert '"0 2 * * *"' in text
    workspace.params.write_text(
        text.replace('"0 2 * * *"', '"30 4 * * 1"').replace("time_zone: UTC", "time_zone: Asia/Tokyo")
    )
    prepare(workspace)
    from flows.deploy import deployments as made

    by_name = {each.name: each for each in made(str(workspace.root))}
    assert by_name.keys() == {"retrain-cell", "ingest", "promote", "rollback", "score"}
    (schedule,) = by_name["retrain-cell"].schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("30 4 * * 1", "Asia/Tokyo")
    expected = {"workspace": str(workspace.root), "category": "cell", "drop": True}
    assert by_name["retrain-cell"].parameters == expected
    assert not any(each.schedules for name, each in by_name.items() if name != "retrain-cell")


def test_serve_registers_every_flow_with_its_schedule(api: str, served: tuple[Workspace, Process, Path]) -> None:
    (retrain,) = [each for each in deployments(api) if each["name"] == "retrain-cell"]
    (schedule,) = retrain["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"], schedule["active"]) == (
        "0 2 * * *",
        "UTC",
        True,
    )
    assert retrain["parameters"] == {"workspace": str(served[0].root), "category": "cell", "drop": True}


def test_a_served_retrain_with_an_empty_drop_folder_does_nothing(
    api: str, served: tuple[Workspace, Process, Path]
) -> None:
    workspace, process, _ = served
    services = open_services(workspace.root)
    before = services.versioning.head(), services.ledger.latest_dataset("cell"), sorted(workspace.root.iterdir())
    (retrain,) = [each for each in deployments(api) if each["name"] == "retrain-cell"]
    # The key makes a request that was answered with an error, but carried out, the same run the second time.
    flow_run = ask(f"{api}/deployments/{retrain['id']}/create_flow_run", {"idempotency_key": "empty drop folder"})
    finished = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

    def state() -> str:
        return str((call(f"{api}/flow_runs/{flow_run['id']}") or {}).get("state_type"))

    wait_for(lambda: state() in finished, process)
    assert (
        ask(f"{api}/flow_runs/filter", {"flow_runs": {"id": {"any_": [flow_run["id"]]}}})[0]["state_type"]
        == "COMPLETED"
    )
    assert ask(f"{api}/task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run["id"]]}}}) == []
    after = services.versioning.head(), services.ledger.latest_dataset("cell"), sorted(workspace.root.iterdir())
    assert after == before


def test_serve_stops_when_it_is_interrupted(served: tuple[Workspace, Process, Path]) -> None:
    _, process, log = served
    process.send_signal(signal.SIGINT)
    code = process.wait(60)
    assert code == 0, log.read_text()
    assert "Traceback" not in log.read_text()


@pytest.mark.usefixtures("run")  # Prefect has a home before it is imported
def test_serve_stops_when_the_runner_loses_the_first_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import deploy

    asked = []

    async def runner(*_: object, limit: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            asked.append(limit)
        await asyncio.sleep(PATIENCE)

    monkeypatch.setattr("prefect.aserve", runner)
    monkeypatch.setattr(deploy, "_PATIENCE", 0.1)
    before = signal.getsignal(signal.SIGINT)
    asyncio.run(asyncio.wait_for(deploy._serve([]), PATIENCE / 2))
    assert len(asked) == 1
    assert signal.getsignal(signal.SIGINT) == before
