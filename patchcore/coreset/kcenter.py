"""Greedy k-centre coreset, exact and in few passes over the data.

The memory bank is a coreset of the patch features: start at one patch and always add the patch farthest from the
chosen ones (Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022, section 3.2, Algorithm 1;
Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985). A plain loop reads all N patches for
each of its M picks. This one reads them once for several hundred picks:

    Squared distances to the chosen rows never rise, so an old value is an upper bound of the new one.
    Take the K patches with the largest values as a pool, and the largest value outside it as a bound.
    Greedy inside the pool makes the same picks as plain greedy while the pool's maximum is at least the bound.
    Then one pass over the data updates all N values, and the next pool is taken.

Lower bounds avoid most full comparisons: see `patchcore.search.bounds` and `patchcore.coreset.pool`. The patches may be
on disk (`patchcore.coreset.sources.Patches`): memory holds 8 bytes for each of them.

Letters: N patches, D features, B patches of a block, M picks, K patches in the pool, t picks of one pass.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchcore._util.parallel import in_order
from patchcore.coreset.sources import ArrayPatches, Patches, ProjectedPatches
from patchcore.search.bounds import Axes, Cells

_POOL = 8192
_POOL_VALUES = 1 << 21  # K times D, where patches have many features
_SAMPLE = 4096  # patches that the principal axes are computed from
_SLACK = 64 * 2.0**-24  # twice a short vector's rounding to float32, as a share of its norm, and room for its rest's


@dataclass(frozen=True)
class Coreset:
    """The picks of a greedy k-centre selection. Every prefix of it is a coreset, too.

    Attributes:
        indices: int64 (M,), the row of each pick in the features, in pick order, no row twice.
        radii: float64 (M,), Euclidean covering radii, not increasing: after pick i every patch lies within ``radii[i]``
            of one of the picks 0 to i. With a projection, distances are those of the projected space.
    """

    indices: NDArray[np.int64]
    radii: NDArray[np.float64]


def select(
    features: NDArray[np.float32] | Patches,
    size: int,
    *,
    seed: int,
    projection_dim: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Coreset:
    """Choose a coreset by greedy k-centre: the picks of the plain algorithm, except for ties.

    A pick is chosen by distances in float64; whether a patch is among the K farthest is decided in float32, so patches
    whose distances agree to six digits may change places. The result does not depend on the
    number of threads.

    Args:
        features: float32 (N, D), finite; or a source of them, which is read in blocks, front to back.
        size: M, from 1 to N. Fewer picks are returned if fewer cover every patch at distance 0.
        seed: chooses the first pick, and the projection where there is one.
        projection_dim: measure distances after a Gaussian random projection to this many dimensions
            (Johnson and Lindenstrauss, 1984); None measures them as they are.
        progress: called with the number of picks made so far.

    Raises:
        ValueError: the shape, the type or the size has no meaning, or a value is not finite.

    Example:
        >>> patches = np.array([[0.0], [1.0], [10.0], [4.0]], dtype=np.float32)
        >>> chosen = select(patches, 3, seed=0)
        >>> chosen.indices.tolist(), chosen.radii.tolist()
        ([3, 2, 0], [6.0, 4.0, 1.0])
    """
    patches = ArrayPatches(features) if isinstance(features, np.ndarray) else features
    count = patches.shape[0]
    if not 1 <= size <= count:
        raise ValueError(f"size: got {size}, expected 1 to {count}, the number of patches")
    generator = np.random.default_rng(seed)
    first = int(generator.integers(count))
    if projection_dim is not None:
        patches = ProjectedPatches(patches, generator, projection_dim)
    return _Traversal(patches, size, progress or (lambda _: None)).run(first)


class _Traversal:
    """One run of the algorithm; its state is the distance of every patch to the picks made so far."""

    def __init__(self, patches: Patches, size: int, progress: Callable[[int], None]) -> None:
        count, depth = patches.shape
        self._patches = patches
        self._size = size
        self._progress = progress
        self._axes = Axes.fit(patches.rows(np.arange(0, count, -(-count // _SAMPLE))))
        self._room = max(_POOL // 8, min(_POOL, _POOL_VALUES // depth))  # K
        # Squared distance (N,) of every patch to its nearest pick, and which pick that is: what the blocks lower.
        self._squared = np.full(count, np.inf, dtype=np.float32)
        self._nearest = np.full(count, -1, dtype=np.int32)

    def run(self, first: int) -> Coreset:
        picks = np.array([first])
        reach: list[float] = []  # squared distance of each pick to the picks before it, from the second on
        self._lower(self._patches.rows(picks), 0)
        while True:
            self._progress(len(picks))
            pool, bound = self._pool()
            rows = self._patches.rows(pool)
            squared = self._exact(rows, picks[self._nearest[pool]])
            chosen = self._pick(rows, squared, bound, self._size - len(picks))
            if not len(chosen):
                break  # the size is reached, or every patch is covered
            self._lower(rows[chosen], len(picks))
            picks = np.concatenate([picks, pool[chosen]])
            reach += squared[chosen].tolist()
        # The largest distance after the last pick is its radius; every other radius is the reach of the next pick.
        radii = np.sqrt([*reach, squared.max()])
        # A radius never rises with another pick; if rounding makes it rise, the larger value holds for both.
        return Coreset(picks, np.maximum.accumulate(radii[::-1])[::-1])

    def _lower(self, rows: NDArray[np.float32], known: int) -> None:
        """Update every patch's distance with picks (t, D), the first of which has number ``known``: one pass."""
        cells = Cells(rows, self._axes, known)

        def lower(block: tuple[int, NDArray[np.float32]]) -> None:
            start, features = block
            part = slice(start, start + len(features))
            nearest = self._nearest[part].astype(np.int64)
            try:
                cells.lower(features, self._squared[part], nearest)
            except ValueError as error:
                text = f"features: got a value that is not finite in rows {part.start} to {part.stop}"
                raise ValueError(text) from error
            self._nearest[part] = nearest

        deque(in_order(lower, self._blocks()), maxlen=0)

    def _blocks(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the source's blocks, each with the number of its first patch."""
        start = 0
        for block in self._patches.blocks():
            yield start, block
            start += len(block)

    def _pool(self) -> tuple[NDArray[np.int64], float]:
        """Return the numbers of the K farthest patches in rising order, and the largest squared distance outside."""
        outside = len(self._squared) - self._room
        if outside <= 0:
            return np.arange(len(self._squared)), -1.0
        bound = float(np.partition(self._squared, outside - 1)[outside - 1])
        inside = self._squared > bound
        ties = np.flatnonzero(self._squared == bound)
        inside[ties[: self._room - np.count_nonzero(inside)]] = True
        return np.flatnonzero(inside), bound

    def _exact(self, rows: NDArray[np.float32], nearest: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the squared distances (K,) of rows (K, D) to their nearest picks, in float64."""
        difference = rows.astype(np.float64) - self._patches.rows(nearest)
        return np.asarray(np.einsum("kd,kd->k", difference, difference))

    def _pick(
        self, rows: NDArray[np.float32], squared: NDArray[np.float64], bound: float, room: int
    ) -> NDArray[np.int64]:
        """Run greedy inside the pool while it equals plain greedy; return places, write their reach to ``squared``."""
        from patchcore.coreset.pool import pick

        short = self._axes.shorten(rows).astype(np.float32)
        slack = _SLACK * float(np.linalg.norm(short, axis=1).max())
        picks = np.empty(min(room, len(rows)), dtype=np.int64)
        return picks[: pick(rows, short.reshape(-1), squared, bound, slack, picks)]
