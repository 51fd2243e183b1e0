"""The coreset compared with a plain torch loop and anomalib's KCenterGreedy. Run: python -m benchmarks.coreset.

The patches of 300 normal solar cells (235,200), after a random projection to 128 features and as they are (152). Each
side selects 1 % of the same patches; ours also 10 %. anomalib projects by itself, to 305 dimensions here, and takes
minutes: it runs once; --peer-picks times its first picks only and says so. Radii are measured in the same way: the
largest distance of a patch to the nearest pick, without any projection of the peer's.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import Table, params, solar_cells
from benchmarks.peers import in_peer
from patchcore._util.files import sha256_of
from patchcore.coreset import kcenter
from patchcore.extraction.extractor import open_extractor
from patchcore.extraction.store import FeatureStore
from patchcore.search.index import NearestNeighbours

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Selection:
    """What a side did: median seconds, picks, and how many times it read all patches (None: as often as it picks)."""

    seconds: float
    picks: NDArray[np.int64]
    passes: int | None = None


def main() -> None:
    """Print a table for each kind of features."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        raw = _features(Path(folder), arguments.images)
        generator = np.random.default_rng(0)
        projection = (generator.standard_normal((raw.shape[1], 128)) / np.sqrt(128)).astype(np.float32)
        kcenter.select(raw[:20_000], 50, seed=0)  # compiles, or reads what was compiled
        for patches in (raw @ projection, raw):
            if patches.shape[1] in (arguments.features or [patches.shape[1]]):
                _compare(patches, Path(folder) / "features.npy", arguments).show()


def _compare(patches: Features, file: Path, arguments: argparse.Namespace) -> Table:
    count, depth = patches.shape
    table = Table(
        f"Coreset of {count:,} patches, {depth} features",
        "side",
        "picks",
        "seconds",
        "ours is x times faster",
        "radius",
        "passes",
    )
    one = round(0.01 * count)
    # In turns, so that a noisy minute of the machine affects both sizes.
    both = [(_ours(patches, one), _ours(patches, 10 * one)) for _ in range(arguments.rounds)]
    ours, many = (_median(rounds) for rounds in zip(*both, strict=True))
    plain = _median([_plain(patches, one) for _ in range(arguments.plain_rounds)])
    sides = {"ours": ours, "plain torch loop": plain}
    if arguments.peer:
        np.save(file, patches)
        sides |= _anomalib(file, one, arguments.peer_picks)
    for name, side in sides.items():
        radius = _radius(patches, side.picks) if len(side.picks) == one else "not measured"
        table.add(name, one, side.seconds, side.seconds / ours.seconds, radius, side.passes or one)
    slower = f"{many.seconds / ours.seconds:.1f} x the time of 1 %"
    table.add("ours, 10 %", 10 * one, many.seconds, slower, _radius(patches, many.picks), many.passes or 0)
    return table


def _ours(patches: Features, size: int) -> Selection:
    told: list[int] = []
    started = time.perf_counter()
    chosen = kcenter.select(patches, size, seed=0, progress=told.append)
    return Selection(time.perf_counter() - started, chosen.indices, len(told))


def _plain(patches: Features, size: int) -> Selection:
    """The algorithm as it is written in the paper, with one matrix-vector product per pick: its fastest plain form."""
    import torch

    started = time.perf_counter()
    rows = torch.from_numpy(patches)
    norms = rows.square().sum(dim=1)
    pick = int(np.random.default_rng(0).integers(len(patches)))
    picks, squared = [pick], torch.full((len(rows),), torch.inf)
    while len(picks) < size:
        squared = torch.minimum(squared, norms + norms[pick] - 2 * (rows @ rows[pick]))
        squared[pick] = 0
        pick = int(squared.argmax())
        picks.append(pick)
    return Selection(time.perf_counter() - started, np.array(picks))


def _anomalib(file: Path, size: int, picks: int | None) -> dict[str, Selection]:
    script = Path(__file__).with_name("anomalib_coreset.py")
    # Its size is N times the ratio, rounded down.
    ratio = (size + 0.5) / np.load(file, mmap_mode="r").shape[0]
    answer = in_peer(script, {"features": str(file), "picks": picks or size, "ratio": ratio})
    indices, seconds = np.array(answer["indices"]), float(answer["seconds"])
    if len(indices) == size:
        return {"anomalib KCenterGreedy": Selection(seconds, indices)}
    name = f"anomalib KCenterGreedy, EXTRAPOLATED from {len(indices):,} picks"
    return {name: Selection(seconds * size / len(indices), indices)}


def _median(done: Sequence[Selection]) -> Selection:
    return Selection(median(side.seconds for side in done), done[0].picks, done[0].passes)


def _radius(patches: Features, picks: NDArray[np.int64]) -> float:
    index = NearestNeighbours(np.ascontiguousarray(patches[picks]))
    return max(float(index.search(block)[0].max()) for block in np.array_split(patches, 100))


def _features(folder: Path, images: int) -> Features:
    store = FeatureStore(folder, open_extractor(params().extract))
    files = {sha256_of(path): path for path in solar_cells("mono")[:images]}
    store.ensure(files, lambda _: None)
    stored = store.patches(list(files))
    return np.concatenate(list(stored.blocks()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--features", type=int, nargs="+", choices=[128, 152], help="default: both")
    parser.add_argument("--rounds", type=int, default=5, help="of ours")
    parser.add_argument("--plain-rounds", type=int, default=3, help="of the plain loop")
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="without anomalib")
    parser.add_argument("--peer-picks", type=int, help="time only so many picks of anomalib's")
    return parser.parse_args()


if __name__ == "__main__":
    main()
