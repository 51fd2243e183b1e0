"""A process that has imported everything and forks: a command, or a stage of DVC, without half a minute of imports.

What is forked is the real command line, and the real process entry of a stage. One thing is missing: Prefect's engine,
whose server would take longer to start than all the rest; `flow` and `task` leave functions as they are.

Run as: python -m tests.acceptance.kill.zygote SOCKET PROGRAMS. In PROGRAMS a `python` is made that DVC finds first: it
asks the same socket for the stage. Each request is one line of JSON, with open files for stdin, stdout and stderr; the
answers are the process id, and the exit code at the end (negative: the signal).
"""

import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_IMPORTED = """
    dvc.repo dvc.repo.reproduce great_expectations matplotlib.pyplot mlflow.pyfunc numba pandas pyarrow.parquet
    sklearn.metrics timm torch openvino patchcore.steps.validate patchcore.steps.extract patchcore.steps.build
    patchcore.steps.evaluate patchcore.adapters.ledger.migrations patchcore.cli.app flows.ingest flows.retrain
    flows.promote flows.score patchcore.lifecycle.setup.add
"""
_PR_SET_CHILD_SUBREAPER = 36
LEARN = "KILL_LEARN"
"""Environment variable: the file in which children write which modules they imported."""

_PYTHON = """#!{python} -ISE
import array, json, os, socket, sys
if sys.argv[1:3] != ["-m", "patchcore"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
link = socket.socket(socket.AF_UNIX)
link.connect({address!r})
request = {{"kind": "stage", "words": sys.argv[3:], "folder": os.getcwd(), "group": os.getpgrp()}}
request["environment"] = dict(os.environ)
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
link.sendmsg([json.dumps(request).encode() + b"\\n"], rights)
answers = link.makefile("r")
answers.readline()
sys.exit(int(answers.readline()) or 0)
"""


def main(address: str, programs: str) -> None:
    """Import, then fork whatever is asked for, until killed."""
    _without_engine()
    for name in _IMPORTED.split():
        importlib.import_module(name)
    _warm_up()
    # What orphans leave is ours to bury: a group is gone when nothing of it is left.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _make_python(Path(programs), address)
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening, selectors.DefaultSelector() as selector:
        listening.bind(address)
        listening.listen(64)
        selector.register(listening, selectors.EVENT_READ)
        askers: dict[int, socket.socket] = {}
        while True:
            for _ in selector.select(timeout=0.01):
                asker, _ = listening.accept()
                request, files = _received(asker)
                if learned := request["environment"].get(LEARN):
                    _import(Path(learned))
                process = _fork(request, files, (asker, listening))
                askers[process] = asker
                _tell(asker, process)
            _bury(askers)


def _warm_up() -> None:
    """Let MLflow look through what is installed, which it does once in a process and takes a second."""
    from mlflow.utils import requirements_utils

    requirements_utils._init_packages_to_modules_map()  # type: ignore[no-untyped-call]


def _without_engine() -> None:
    import prefect
    import prefect.artifacts

    class Plain:
        """A flow or task that is called like the function that it is."""

        def __init__(self, function: Callable[..., Any]) -> None:
            self.fn = function

        def __call__(self, *arguments: Any, **named: Any) -> Any:
            return self.fn(*arguments, **named)

        def with_options(self, **_: Any) -> "Plain":
            return self

    def plain(function: Callable[..., Any] | None = None, **_: Any) -> Any:
        return Plain if function is None else Plain(function)

    prefect.flow = prefect.task = plain  # type: ignore[assignment]
    for name in ("create_markdown_artifact", "create_table_artifact"):
        setattr(prefect.artifacts, name, lambda **_: None)


def _make_python(programs: Path, address: str) -> None:
    programs.mkdir()
    shim = programs / "python"
    shim.write_text(_PYTHON.format(python=sys.executable, address=address))
    shim.chmod(0o755)
    sys.executable = str(shim)  # the library lets DVC find `python` beside it


def _received(asker: socket.socket) -> tuple[dict[str, Any], list[int]]:
    content, files, _, _ = socket.recv_fds(asker, 1 << 20, 3)
    while not content.endswith(b"\n"):
        content += asker.recv(1 << 20)
    return json.loads(content), files


def _fork(request: dict[str, Any], files: Sequence[int], sockets: Sequence[socket.socket]) -> int:
    process = os.fork()
    if process:
        for file in files:
            os.close(file)
        return process
    code = 1
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
        for number in (*files, *(each.detach() for each in sockets)):
            os.close(number)
        before = set(sys.modules)
        code = _run(request)
        if learned := request["environment"].get(LEARN):
            with Path(learned).open("a") as names:
                names.writelines(f"{name}\n" for name in sys.modules.keys() - before)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _import(learned: Path) -> None:
    """Import what children had to import: the next ones find it done."""
    for name in learned.read_text().split() if learned.exists() else ():
        if name not in sys.modules:
            with suppress(Exception):  # not every module is there to be imported by name
                importlib.import_module(name)
    gc.freeze()


def _run(request: dict[str, Any]) -> int:
    signal.alarm(300)  # whatever happens, nothing of this stays
    os.setpgid(0, request["group"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    from tests.acceptance.kill import effects

    effects.install()
    if request["kind"] == "look":
        from tests.acceptance.kill.state import look

        return look(Path(request["words"][0]), whole="state" in request["words"])
    if request["kind"] == "stage":
        from patchcore.__main__ import main as stage

        return stage(request["words"])
    from patchcore.cli.app import run

    return run(request["words"])


def _bury(askers: dict[int, socket.socket]) -> None:
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if process == 0:
            return
        if asker := askers.pop(process, None):
            _tell(asker, os.waitstatus_to_exitcode(status))
            asker.close()


def _tell(asker: socket.socket, number: int) -> None:
    try:
        asker.sendall(f"{number}\n".encode())
    except OSError:  # who asked was killed
        asker.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
