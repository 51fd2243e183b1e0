"""Runs commands in process groups of their own, kills them, and looks at what is left."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchcore.config.workspace import Workspace
from tests.acceptance.kill import effects
from tests.support.places import REPOSITORY

PATIENCE = 240  # seconds that anything may take, on a busy machine
_HOOKS = ("pre-commit", "post-index-change", "reference-transaction", "post-commit")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), all that it said, how long it took."""

    code: int
    said: str
    seconds: float


class Zygote:
    """The client of `tests.acceptance.kill.zygote`."""

    def __init__(self, address: str) -> None:
        self._address = address

    def run(
        self,
        kind: str,
        words: Sequence[str],
        folder: Path,
        environment: dict[str, str],
        kill_after: float | None = None,
    ) -> Ended:
        """Fork a command and wait for its whole process group to end.

        Args:
            kind: command or look.
            words: its arguments.
            folder: where it runs.
            environment: what is added to ours.
            kill_after: seconds after which the group is killed.
        """
        began = time.monotonic()
        with (
            tempfile.TemporaryFile() as said,
            Path(os.devnull).open() as nothing,
            socket.socket(socket.AF_UNIX) as link,
        ):
            link.connect(self._address)
            request = {
                "kind": kind,
                "words": list(words),
                "folder": str(folder),
                "group": 0,
                "environment": os.environ | environment,
            }
            socket.send_fds(
                link, [json.dumps(request).encode() + b"\n"], [nothing.fileno(), said.fileno(), said.fileno()]
            )
            answers = link.makefile("r")
            group = int(answers.readline())
            if kill_after is not None:
                time.sleep(kill_after)
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
            code = int(answers.readline())
            _wait_until_gone(group)
            said.seek(0)
            return Ended(code, said.read().decode(errors="replace"), time.monotonic() - began)

    def problems(self, workspace: Workspace, environment: dict[str, str]) -> list[str]:
        """Return what is wrong in a workspace; the environment says where its ledger is."""
        return list(self._look(workspace, environment)["problems"])

    def state(self, workspace: Workspace, environment: dict[str, str]) -> dict[str, Any]:
        """Return what there is in a workspace, and what is wrong in it."""
        found = self._look(workspace, environment, "state")
        return {**found["state"], "problems": found["problems"]}

    def _look(self, workspace: Workspace, environment: dict[str, str], *words: str) -> dict[str, Any]:
        ended = self.run("look", [str(workspace.root), *words], workspace.root, environment)
        assert ended.code == 0, ended.said
        found: dict[str, Any] = json.loads(ended.said.splitlines()[-1])
        return found


@contextmanager
def zygote(folder: Path) -> Iterator[Zygote]:
    """Start a zygote in a folder, and end it with the block."""
    address = folder / "socket"
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.kill.zygote", str(address), str(folder / "programs")],
        cwd=REPOSITORY,
        env=os.environ | one_thread | {"MPLBACKEND": "agg"},
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not address.exists():
            assert process.poll() is None, "the zygote died"
            assert time.monotonic() < deadline, "the zygote takes too long"
            time.sleep(0.05)
        yield Zygote(str(address))
    finally:
        process.kill()
        process.wait()


def run_program(words: Sequence[str], folder: Path, environment: dict[str, str]) -> Ended:
    """Run `patchcore` as users do, in a process group of its own: it, and all that it starts, count their effects."""
    began = time.monotonic()
    program = str(Path(sys.executable).with_name("patchcore"))
    counted = {"PYTHONPATH": os.pathsep.join((str(Path(__file__).parent / "site"), str(REPOSITORY)))}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [program, *words],
            cwd=folder,
            env=os.environ | counted | environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            process_group=0,
        )
        code = process.wait(PATIENCE)
        said.seek(0)
        return Ended(code, said.read().decode(errors="replace"), time.monotonic() - began)


def counting(workspace: Workspace, log: Path, at: str = "0") -> dict[str, str]:
    """Return the environment in which a command counts its effects, and is killed at one of them."""
    log.write_text("")
    return {effects.ROOT: str(workspace.root), effects.LOG: str(log), effects.AT: at}


def add_git_hooks(workspace: Workspace) -> None:
    """Let git tell of its progress: between these hooks it holds its locks, and has done some of its work."""
    for name in _HOOKS:
        hook = workspace.root / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        tell = f'exec {sys.executable} -ISE {effects.__file__} "{name} $1"'
        hook.write_text(f'#!/bin/sh\n[ -z "${effects.ROOT}" ] || {tell}\n')
        hook.chmod(0o755)


def _wait_until_gone(group: int) -> None:
    deadline = time.monotonic() + PATIENCE
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.01)
        raise AssertionError(f"process group {group} does not end")
