"""Time and peak memory of a selection from the disk. Run: python -m benchmarks.out_of_core.

Each row is a separate process that reads the features of that many images from a store and selects a fixed number of
rows, or 1 % of the patches. If there are too few images, real ones are used again, with noise in their features. Peak
memory is the process's high-water mark (VmHWM), imports included.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.common import Table, in_child, params, solar_cells
from patchcore._util.files import sha256_of
from patchcore.coreset import kcenter
from patchcore.coreset.sources import Patches
from patchcore.extraction.extractor import open_extractor
from patchcore.extraction.store import FeatureStore

_FIXED = 2352  # rows: 1 % of 300 images
_MEGABYTE = 1 << 20


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[300, 1000, 3000], help="rising")
    parser.add_argument("--folder", type=Path, help="where the features go, 0.5 MB an image; default: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        digests = _fill(Path(folder), arguments.images[-1])
        columns = ("images", "rows", "seconds", "x the first", "peak memory MB", "x the first", "patches MB", "passes")
        table = Table("Selection from the disk", *columns)
        for rows in (_FIXED, None):
            _add_rows(table, Path(folder), digests, arguments.images, rows)
        table.show()


def _add_rows(table: Table, folder: Path, digests: list[str], images: list[int], rows: int | None) -> None:
    first = None
    for count in images:
        done = in_child(_select, folder, digests[:count], rows)
        chosen, passes, size, seconds = done.result
        first = first or (seconds, done.peak)
        times, peaks = seconds / first[0], done.peak / first[1]
        table.add(count, chosen, seconds, times, done.peak / _MEGABYTE, peaks, size / _MEGABYTE, passes)


def _select(folder: Path, digests: list[str], rows: int | None) -> tuple[int, int, int, float]:
    """Return rows, passes, bytes of the patches, and the seconds of the selection without compilation."""
    import time

    warm = np.random.default_rng(0).normal(size=(3000, 152)).astype(np.float32)
    kcenter.select(warm, 20, seed=0)
    stored: Patches = FeatureStore(folder, open_extractor(params().extract)).patches(digests)
    count, depth = stored.shape
    told: list[int] = []
    started = time.perf_counter()
    chosen = kcenter.select(stored, rows or round(0.01 * count), seed=0, progress=told.append)
    return len(chosen.indices), len(told), count * depth * 4, time.perf_counter() - started


def _fill(folder: Path, count: int) -> list[str]:
    """Extract the real images, and write noisy copies of their features under other names until there are enough."""
    extractor = open_extractor(params().extract)
    store = FeatureStore(folder, extractor)
    files = {sha256_of(path): path for path in (*solar_cells("mono"), *solar_cells("poly"))[:count]}
    store.ensure(files, lambda _: None)
    generator = np.random.default_rng(0)
    digests = list(files)
    for number in range(len(digests), count):
        original = store.load(digests[number % len(files)])
        scale = 0.1 * original.std(axis=(0, 1))
        noise = generator.normal(size=original.shape).astype(np.float32) * scale
        turned = np.rot90(original + noise, k=number // len(files))  # another picture in every round
        digests.append(f"{number:064x}")
        store._write(digests[-1], np.ascontiguousarray(turned))
    return digests


if __name__ == "__main__":
    main()
