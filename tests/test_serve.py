"""`patchcore serve` against a real Prefect server: what it registers, what a scheduled retrain does, how it stops."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.environment import prepare
from patchcore.layout import Workspace
from patchcore.lifecycle.services import open_services

PATIENCE = 120  # seconds that a process of ours may take to start, on a busy machine
PROGRAMS = Path(sys.executable).parent
EVERY_FLOW = {"ingest/ingest", "promote/promote", "rollback/rollback", "score/score", "retrain/retrain-cell"}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect_server")
    url = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    command = [str(PROGRAMS / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: call(f"{url}/health") is True, server)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture(scope="module")
def served(
    promoted: Workspace,
    copy: Callable[[Workspace, Path], Workspace],
    api: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Workspace, "subprocess.Popen[bytes]"]]:
    folder = tmp_path_factory.mktemp("served")
    workspace = copy(promoted, folder / "workspace")
    environment = os.environ | {"PREFECT_API_URL": api, "PREFECT_HOME": str(folder / "prefect")}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(PROGRAMS / "patchcore"), "serve"], cwd=workspace.root, env=environment, stdout=log, stderr=log
        )
    try:
        wait_for(lambda: names(api) == EVERY_FLOW, process)
        yield workspace, process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def call(url: str, body: dict[str, Any] | None = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"Content-Type": "application/json"})  # noqa: S310  # loopback
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            return json.load(answer)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def ask(url: str, body: dict[str, Any]) -> Any:
    """Return the server's answer; a busy one, whose database is locked for a moment, is asked again."""
    deadline = time.monotonic() + PATIENCE
    while (answer := call(url, body)) is None:
        assert time.monotonic() < deadline, f"{url} does not answer"
        time.sleep(0.3)
    return answer


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, f"the process ended with {process.returncode}"
        assert time.monotonic() < deadline, "the process takes too long"
        time.sleep(0.3)


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


def test_serve_registers_every_flow_with_its_schedule(
    api: str, served: tuple[Workspace, "subprocess.Popen[bytes]"]
) -> None:
    (retrain,) = [each for each in deployments(api) if each["name"] == "retrain-cell"]
    (schedule,) = retrain["schedules"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"], schedule["active"]) == (
        "0 2 * * *",
        "UTC",
        True,
    )
    assert retrain["parameters"] == {"workspace": str(served[0].root), "category": "cell", "drop": True}


def test_a_served_retrain_with_an_empty_drop_folder_does_nothing(
    api: str, served: tuple[Workspace, "subprocess.Popen[bytes]"]
) -> None:
    workspace, process = served
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


def test_serve_stops_when_it_is_interrupted(served: tuple[Workspace, "subprocess.Popen[bytes]"]) -> None:
    process = served[1]
    process.send_signal(signal.SIGINT)
    code = process.wait(60)
    log = (served[0].root.parent / "log").read_text()
    assert code == 0, log
    assert "Traceback" not in log
