"""The peers' own virtual environment, and scripts that run in it: anomalib does not share our dependencies.

The environment is made when it is first needed, in .benchmarks/anomalib of the clone (some gigabytes), with the
versions of torch, torchvision, timm and OpenVINO that we use too. PATCHCORE_PEER names another Python with anomalib.

Only the standard library is imported here: the scripts in the other environment import this module as well.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_ROOT = Path(__file__).resolve().parent.parent
_FOLDER = _ROOT / ".benchmarks" / "anomalib"
_PEER = "anomalib[openvino]==2.7.0"
_SHARED = re.compile(r"(torch|torchvision|timm|openvino)==\S+")


def peer_python() -> Path:
    """Return the Python that has anomalib, and make its environment where there is none."""
    if named := os.environ.get("PATCHCORE_PEER"):
        return Path(named)
    python, ready = _FOLDER / "bin" / "python", _FOLDER / "ready"
    if not ready.exists():
        print(f"making {_FOLDER} for {_PEER}, some gigabytes", file=sys.stderr)
        pins = [line for line in (_ROOT / ".constraints.txt").read_text().splitlines() if _SHARED.fullmatch(line)]
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(_FOLDER)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", _PEER, *pins], check=True)
        ready.touch()
    return python


def in_peer(script: Path, arguments: Mapping[str, object]) -> dict[str, Any]:
    """Run a script in the peers' environment.

    Args:
        script: its only argument is ``arguments`` as JSON; its last line on stdout is a JSON object.
        arguments: values that JSON can hold; arrays go through files.

    Returns:
        That object.
    """
    command = [str(peer_python()), str(script), json.dumps(arguments)]
    done = subprocess.run(command, env=_environment(), stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


class Peer:
    """A script of the peers' environment that keeps running, so its rounds can take turns with ours; see `serve`."""

    def __init__(self, script: Path) -> None:
        """Start the script."""
        command = [str(peer_python()), str(script)]
        self._process = subprocess.Popen(
            command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def call(self, name: str, /, **arguments: object) -> Any:
        """Call one of the script's functions and return its result.

        Raises:
            RuntimeError: the script ended; its error is on stderr.
        """
        assert self._process.stdin  # noqa: S101  # a pipe was requested
        assert self._process.stdout  # noqa: S101
        self._process.stdin.write(json.dumps([name, arguments]) + "\n")
        self._process.stdin.flush()
        if not (line := self._process.stdout.readline()):
            raise RuntimeError(f"the peer's script ended during {name}, with exit code {self._process.wait()}")
        return json.loads(line)

    def __enter__(self) -> Self:
        """Return this peer."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the script."""
        self._process.communicate()  # closes stdin


def serve(functions: Mapping[str, Callable[..., object]]) -> None:
    """Answer the calls of a `Peer` until it ends; the other side of the pipe.

    Args:
        functions: name -> a function of keywords that returns a value that JSON can hold.
    """
    # What libraries print goes to stderr: stdout has the answers, one per line.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        answers.write(json.dumps(functions[name](**arguments)) + "\n")
        answers.flush()


def _environment() -> dict[str, str]:
    quiet = {"DO_NOT_TRACK": "1", "NO_ALBUMENTATIONS_UPDATE": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **quiet, "PYTHONPATH": str(_ROOT)}
