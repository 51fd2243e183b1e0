"""The speed of exact nearest neighbours, compared with faiss and a matrix product. Run: python benchmarks/search.py.

Features of real images by EfficientNet-Lite0 at 224 px, 784 patches of 152 numbers each. The banks remember normal
images; the queries are batches of 8 other images, normal and defective. Every answer is compared with brute force in
float64.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Table, bottle, interleaved, params, solar_cells, squares, stopwatch
from patchcore._util.parallel import in_order
from patchcore.coreset import kcenter
from patchcore.extraction.extractor import open_extractor
from patchcore.search.bounds import Axes, Cells
from patchcore.search.index import NearestNeighbours

_BATCH = 8  # images
_RATIOS = {"1 %": 0.01, "10 %": 0.1}
Features = NDArray[np.float32]
Search = Callable[[Features], object]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--normals", type=int, default=300, help="images in a bank, at most")
    parser.add_argument("--batches", type=int, default=4, help="of 8 images, of each kind")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    times = Table(
        "Exact nearest neighbour: milliseconds a batch of 8 images",
        *("images", "bank", "queries", "cores", "ours", "faiss flat", "matrix product", "faiss / ours"),
    )
    work = Table(
        "What is looked at: share of all pairs of a patch and a row",
        *("images", "bank", "queries", "16 coordinates", "32", "48", "all features", "wrong answers", "largest error"),
    )
    for name, normals, kinds in _image_sets(options.normals, options.batches * _BATCH):
        patches = _features(normals).reshape(-1, 152)
        picks = kcenter.select(patches, round(max(_RATIOS.values()) * len(patches)), seed=0).indices
        queries = {kind: _batches(_features(images)) for kind, images in kinds.items()}
        for ratio, share in _RATIOS.items():
            rows = patches[picks[: round(share * len(patches))]]  # a prefix of a selection is a coreset
            bank = f"{ratio}: {len(rows):,} rows"
            for kind, batches in queries.items():
                for cores in (1, 2):
                    times.add(name, bank, kind, cores, *_measure(rows, batches, cores, options.rounds))
                work.add(name, bank, kind, *_work(rows, batches), *_errors(rows, batches))
    times.show()
    work.show()


def _image_sets(normals: int, queries: int) -> list[tuple[str, Sequence[Path], dict[str, Sequence[Path]]]]:
    """Return for each set its name, the images of the bank, and the images of each kind of queries."""
    cells, folder = solar_cells("mono"), bottle()
    defects = sorted(path for path in folder.glob("test/*/*.png") if path.parent.name != "good")
    return [
        (
            "solar cells",
            cells[:normals],
            {"normal": cells[-queries:], "defective": solar_cells("mono", defective=True)[:queries]},
        ),
        (
            "bottle",
            sorted(folder.glob("train/good/*.png"))[:normals],
            {"normal": sorted(folder.glob("test/good/*.png"))[:queries], "defective": defects[:queries]},
        ),
    ]


def _features(images: Sequence[Path]) -> Features:
    """Return the patch features of images, float32 (B, h, w, D)."""
    extract = params().extract
    network = open_extractor(extract).network
    parts = [squares(images[at : at + 64], extract.image_size) for at in range(0, len(images), 64)]
    return np.concatenate([network(part) for part in parts])


def _batches(features: Features) -> list[Features]:
    """Return the patches of whole batches, float32 (8 h w, D) each."""
    whole = range(0, len(features) - _BATCH + 1, _BATCH)
    return [np.ascontiguousarray(features[at : at + _BATCH]).reshape(-1, features.shape[-1]) for at in whole]


def _measure(rows: Features, batches: Sequence[Features], cores: int, rounds: int) -> list[float]:
    """Return milliseconds per batch of ours, faiss and a matrix product, and the ratio of the first two."""
    import faiss
    import torch

    faiss.omp_set_num_threads(cores)
    torch.set_num_threads(cores)
    flat = faiss.IndexFlatL2(rows.shape[1])
    flat.add(rows)
    ours = NearestNeighbours(rows)

    def side_by_side() -> None:  # as scoring does: a batch is computed by one thread
        list(in_order(ours.search, batches))

    def one_by_one(search: Search) -> Callable[[], None]:
        def run() -> None:
            for batch in batches:
                search(batch)

        return run

    sides = {
        "ours": side_by_side if cores > 1 else one_by_one(ours.search),
        "faiss": one_by_one(lambda batch: flat.search(batch, 1)),
        "product": one_by_one(lambda batch: _product(batch, rows)),
    }
    taken = interleaved({name: stopwatch(side) for name, side in sides.items()}, rounds)
    each = [1000 * taken[name] / len(batches) for name in sides]
    return [*each, each[1] / each[0]]


def _product(queries: Features, rows: Features, block: int = 2048) -> NDArray[np.int64]:
    """Return the nearest rows by a blocked matrix product with a running minimum."""
    import torch

    points, bank = torch.from_numpy(queries), torch.from_numpy(rows)
    half_norms = bank.square().sum(dim=1) / 2  # |q - m|^2 / 2 = |q|^2 / 2 + (|m|^2 / 2 - q m)
    best = torch.full((len(points),), torch.inf)
    nearest = torch.zeros(len(points), dtype=torch.int64)
    for start in range(0, len(bank), block):
        part = slice(start, start + block)
        smallest, which = torch.addmm(half_norms[part], points, bank[part].T, alpha=-1).min(dim=1)
        closer = smallest < best
        best[closer], nearest[closer] = smallest[closer], which[closer] + start
    return nearest.numpy()


def _work(rows: Features, batches: Sequence[Features]) -> list[str]:
    cells = Cells(rows, Axes.fit(rows))
    looked = np.zeros(4, dtype=np.int64)
    for batch in batches:
        nearest = np.full(len(batch), -1, dtype=np.int64)
        looked += cells.lower(batch, np.full(len(batch), np.inf, dtype=np.float32), nearest)
    pairs = len(rows) * sum(map(len, batches))
    return [f"{100 * count / pairs:.2f} %" for count in looked * [16, 16, 16, 1]]


def _errors(rows: Features, batches: Sequence[Features]) -> tuple[int, float]:
    """Return how many answers are farther away than the nearest row, and the largest relative error of a distance."""
    index, exact = NearestNeighbours(rows), rows.astype(np.float64)
    norms = np.einsum("md,md->m", exact, exact)
    wrong, largest = 0, 0.0
    for batch in batches:
        distances, found = (answer[:, 0] for answer in index.search(batch))
        points = batch.astype(np.float64)
        nearest = np.concatenate([(norms - 2 * part @ exact.T).argmin(axis=1) for part in np.array_split(points, 16)])
        expected = np.linalg.norm(points - exact[nearest], axis=1)
        wrong += int((np.linalg.norm(points - exact[found], axis=1) > expected * (1 + 1e-6)).sum())
        largest = max(largest, float(np.abs(distances / expected - 1).max()))
    return wrong, largest


if __name__ == "__main__":
    main()
