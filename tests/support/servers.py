"""Fixtures of the tests that talk to real servers: `mlflow server` and `prefect server`, on loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

PATIENCE = 120  # seconds that a process of ours may take to start, on a busy machine
PROGRAMS = Path(sys.executable).parent
Process = subprocess.Popen[bytes]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server's API: what PREFECT_API_URL names. One server for all workers of a session."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "prefect_server"
    folder.mkdir(exist_ok=True)
    state, lock = folder / "state.json", FileLock(folder / "lock")
    with lock:
        known = json.loads(state.read_text()) if state.exists() else _start_prefect(folder)
        state.write_text(json.dumps({**known, "users": known["users"] + 1}))
    yield known["url"]
    with lock:
        known = json.loads(state.read_text())
        state.write_text(json.dumps({**known, "users": known["users"] - 1}))
        if known["users"] == 1:
            state.unlink()
            with suppress(ProcessLookupError):
                os.killpg(known["group"], signal.SIGKILL)


def _start_prefect(folder: Path) -> dict[str, Any]:
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    environment = {"PREFECT_HOME": str(folder), "PREFECT_SERVER_DATABASE_TIMEOUT": "60"}
    process = _started(command, folder, environment)
    wait_for(lambda: call(f"{url}/health") is True, process)
    return {"url": url, "group": process.pid, "users": 0}


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server that keeps artifacts too: what MLFLOW_TRACKING_URI names."""
    folder, port = tmp_path_factory.mktemp("mlflow_server"), free_port()
    url = f"http://127.0.0.1:{port}"
    stores = ("--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", f"{folder}/files")
    command = ["mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *stores]
    # Its job runners evaluate language models: about six processes that these tests do not need.
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with running(command, folder, environment) as server:
        wait_for(lambda: answers(f"{url}/health"), server)
        yield url


@contextmanager
def running(command: list[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Process]:
    """Run a program of the virtual environment in a folder until the block ends, then end its whole process group.

    The environment's own programs are first on the PATH, as they are when it is activated. The log is `folder`/log.
    """
    process = _started(command, folder, environment)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _started(command: list[str], folder: Path, environment: Mapping[str, str]) -> Process:
    search = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [str(PROGRAMS / command[0]), *command[1:]],
            cwd=folder,
            env={**os.environ, "PATH": search, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_for(condition: Callable[[], bool], process: Process) -> None:
    """Wait until a condition holds, as long as a process runs."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, f"the process ended with {process.returncode}"
        assert time.monotonic() < deadline, "the process takes too long"
        time.sleep(0.2)


def call(url: str, body: dict[str, Any] | None = None) -> Any:
    """Ask a JSON interface; None where there is no answer."""
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
        time.sleep(0.2)
    return answer


def answers(url: str) -> bool:
    """Say whether there is an answer at all."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE):  # noqa: S310  # loopback
            return True
    except OSError:
        return False


def free_port() -> int:
    """Return a port of the loopback interface that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
