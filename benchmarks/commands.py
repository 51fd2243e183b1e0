"""How long the everyday commands take, with a running Prefect server. Run: python benchmarks/commands.py.

`patchcore retrain` with nothing to do, and `patchcore score` of 8 images, in a workspace of 200 solar cells that is
made first; each in a new process, as a person runs it. `python -X importtime` measures the imports in a separate run,
because this measurement takes time too.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.common import Table, interleaved
from patchcore.cli.demo.data import choose_images, lay_out

_CATEGORY = "solar"
_TARGETS = {"retrain, nothing new": "at most 12", "score, 8 images": "at most 10"}


def main() -> None:
    """Print the tables."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder, _prefect_server(Path(folder) / "prefect"):
        commands = Commands(Path(folder))
        first = commands.prepare()
        taken = interleaved({name: partial(commands.seconds, name) for name in _TARGETS}, options.rounds)
        table = Table("Everyday commands, a Prefect server running", "command", "seconds", "target")
        table.add("retrain, the first one", first, "")
        for name, target in _TARGETS.items():
            table.add(name, taken[name], target)
        table.show()
        for name in _TARGETS:
            _show_imports(name, commands.imports(name))


class Commands:
    """A workspace with a bank in production, and commands to run in it."""

    def __init__(self, folder: Path) -> None:
        """Take an empty folder."""
        self._root = folder / "workspace"
        self._images = choose_images("mono", seed=0)
        self._cells, self._batch, self._number = folder / "cells", folder / "batch", count()

    def prepare(self) -> float:
        """Make the workspace and its first bank; return the seconds of that retrain."""
        lay_out(self._images, self._cells)
        self._batch.mkdir()
        for image in self._images.batches[0][:8]:
            shutil.copy(image, self._batch)
        self._run(["init", str(self._root)])
        self._run(["add", _CATEGORY, str(self._cells)])
        return self._run(["retrain", _CATEGORY])[0]

    def seconds(self, command: str) -> float:
        """Run one of the measured commands and return its seconds."""
        return self._run(self._arguments(command))[0]

    def imports(self, command: str) -> str:
        """Return what `python -X importtime` prints about a command."""
        return self._run(self._arguments(command), "-X", "importtime")[1]

    def _arguments(self, command: str) -> list[str]:
        if command.startswith("retrain"):
            return ["retrain", _CATEGORY]
        return ["score", _CATEGORY, str(self._batch), "--batch", f"batch-{next(self._number)}"]

    def _run(self, arguments: Sequence[str], *switches: str) -> tuple[float, str]:
        command = [sys.executable, *switches, "-c", "from patchcore.cli.app import main; main()", *arguments]
        started = time.perf_counter()
        environment = {**os.environ, "PATCHCORE_WORKSPACE": str(self._root)}
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"patchcore {arguments[0]} failed: {done.stderr[-2000:]}")
        return time.perf_counter() - started, done.stderr


@contextmanager
def _prefect_server(home: Path) -> Iterator[None]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {"PREFECT_HOME": str(home), "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    os.environ |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(lambda: _answers(f"http://127.0.0.1:{port}/api/health"))
        yield
    finally:
        server.terminate()
        server.wait()


def _wait(ready: Callable[[], bool]) -> None:
    for _ in range(240):
        if ready():
            return
        time.sleep(0.5)
    raise RuntimeError("the Prefect server did not start within two minutes")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # http, by construction
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _show_imports(command: str, log: str) -> None:
    """Print the packages that take longest to import; a package is charged for what it imports first."""
    own, total = _imports(log)
    table = Table(
        f"Imports of {command}: {total:.1f} s in all, its child processes left out",
        "package",
        "seconds of its own modules",
    )
    for package, seconds in sorted(own.items(), key=lambda item: -item[1])[:15]:
        table.add(package, seconds)
    table.show()


def _imports(log: str) -> tuple[dict[str, float], float]:
    """Return seconds spent in each package's own modules, and in all of them."""
    own: dict[str, float] = {}
    for line in log.splitlines():
        fields = line.removeprefix("import time:").split("|")
        if line.startswith("import time:") and fields[0].strip().isdigit():
            package = fields[2].strip().split(".")[0]
            own[package] = own.get(package, 0.0) + int(fields[0]) / 1e6
    return own, sum(own.values())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
