"""What the benchmarks share: real images, rounds that take turns, peak memory, tables in Markdown."""

import fcntl
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers import Peer, in_peer
from patchcore.config.params import Params, load_params
from patchcore.errors import Refused
from patchcore.images.decoding import load_rgb

__all__ = [
    "ROOT",
    "Measured",
    "Peer",
    "Table",
    "alone",
    "bottle",
    "in_child",
    "in_peer",
    "interleaved",
    "params",
    "solar_cells",
    "squares",
    "stopwatch",
    "timed",
]

ROOT = Path(__file__).resolve().parent.parent
_BOTTLE = ROOT.parent / "shared" / "data" / "bottle"
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def solar_cells(kind: Literal["mono", "poly"], *, defective: bool = False, seed: int = 0) -> list[Path]:
    """Return the pictures of solar cells of a kind that are surely normal, or surely defective, in random order.

    Raises:
        Refused: the package elpv-dataset is not installed.
    """
    package = find_spec("elpv_dataset")
    if package is None or package.origin is None:
        raise Refused("no solar cells", "no package elpv-dataset", "its images", "run: pip install elpv-dataset")
    data = Path(package.origin).parent / "data"
    labels = [line.split() for line in (data / "labels.csv").read_text(encoding="utf-8").splitlines()]
    wanted = 1.0 if defective else 0.0
    images = [data / path for path, probability, of_kind in labels if of_kind == kind and float(probability) == wanted]
    random.Random(seed).shuffle(images)  # noqa: S311  # an order, not a secret
    return images


def bottle() -> Path:
    """Return the folder of the category bottle of MVTec AD, in MVTec layout.

    Raises:
        Refused: it is not beside the clone.
    """
    if not _BOTTLE.is_dir():
        raise Refused("no bottle", f"no folder {_BOTTLE}", "a category in MVTec layout", "put one there")
    return _BOTTLE


def squares(paths: Sequence[Path], side: int = 224) -> NDArray[np.uint8]:
    """Return decoded pictures, uint8 (B, side, side, 3), as scoring sees them."""
    return np.stack([load_rgb(path, side) for path in paths])


def params(**extract: object) -> Params:
    """Return params.yaml as it is in the repository, with some keys of the block extract replaced."""
    original = load_params(ROOT / "params.yaml")
    changed = type(original.extract).model_validate({**original.extract.model_dump(), **extract})
    return original.model_copy(update={"extract": changed})


def timed(function: Callable[[], object], rounds: int = 5) -> float:
    """Return the median of the seconds that a function takes, after one call that warms up."""
    return interleaved({"": lambda: _seconds(function)}, rounds)[""]


def interleaved(sides: Mapping[str, Callable[[], float]], rounds: int = 5) -> dict[str, float]:
    """Let several sides take turns, so that a noisy minute of the machine affects all of them.

    Args:
        sides: name -> does the work once and returns the seconds that it took, as `stopwatch` makes it.
        rounds: turns of each side; one more, before, warms up and does not count.

    Returns:
        name -> median of the seconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, measure in sides.items():
            with alone():
                seconds = measure()
                time.sleep(0.05)  # threads that wait actively after their work would take time from the next side
            if number:
                taken[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


@contextmanager
def alone() -> Iterator[None]:
    """Hold the file lock that PATCHCORE_BENCHMARK_LOCK names, if it names one: benchmarks of one machine take turns."""
    # Not in the environment while the lock is held: a measurement inside the block would wait for it forever.
    if not (name := os.environ.pop("PATCHCORE_BENCHMARK_LOCK", "")):
        yield
        return
    try:
        with Path(name).open("a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    finally:
        os.environ["PATCHCORE_BENCHMARK_LOCK"] = name


def stopwatch(function: Callable[[], object]) -> Callable[[], float]:
    """Return a side for `interleaved`: the function with its time in place of its result."""
    return lambda: _seconds(function)


def _seconds(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


@dataclass(frozen=True)
class Measured:
    """What a function did in a process of its own.

    Attributes:
        result: what it returned.
        seconds: its wall-clock time, without the start of the process.
        peak: bytes, the largest resident size that the process ever had, imports included.
    """

    result: Any
    seconds: float
    peak: int


def in_child(
    function: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Measured:
    """Call a function of a module (not a lambda) in a fresh process and measure it there."""
    with alone(), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, function, *args, **kwargs).result()


def _measure(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Measured:
    started = time.perf_counter()
    result = function(*args, **kwargs)
    return Measured(result, time.perf_counter() - started, _peak())


def _peak() -> int:
    """Return the high-water mark of this process's memory; ru_maxrss would also count the process that began it."""
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


class Table:
    """A table in Markdown, printed when it is complete."""

    def __init__(self, title: str, *columns: str) -> None:
        """Take what the table shows and the names of its columns."""
        self.title = title
        self._columns = columns
        self._rows: list[list[str]] = []

    def add(self, *cells: object) -> None:
        """Add a row; numbers are shown with three significant digits."""
        if len(cells) != len(self._columns):
            raise ValueError(f"cells: got {len(cells)}, expected {len(self._columns)}")
        self._rows.append([_shown(cell) for cell in cells])

    def __str__(self) -> str:
        """Return the table with the machine it was measured on."""
        lines = [self._columns, ["---"] * len(self._columns), *self._rows]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        return f"\n### {self.title}\n\n{body}\n\n{machine()}\n"

    def show(self) -> None:
        """Print the table."""
        print(self, flush=True)


def _shown(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def machine() -> str:
    """Return one line about the processor and the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {_processor()}, Python {platform.python_version()}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
