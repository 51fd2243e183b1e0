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

PATIENCE = 300  # seconds that a process of ours may take to start, on a busy machine
PROGRAMS = Path(sys.executable).parent
Process = subprocess.Popen[bytes]


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server's API: what PREFECT_API_URL names.

    One for all tests of a worker. Workers do not share it: tests look at the newest artifact of a category.
    """
    home, port = tmp_path_factory.mktemp("prefect_server"), free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = {"PREFECT_HOME": str(home), "PREFECT_SERVER_DATABASE_TIMEOUT": "60"}
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    with running(command, home, environment) as server:
        wait_for(lambda: call(f"{url}/health") is True, server)
        yield url


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
    search = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(PROGRAMS / command[0]), *command[1:]],
            cwd=folder,
            env={**os.environ, "PATH": search, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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
