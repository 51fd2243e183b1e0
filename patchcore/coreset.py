"""Greedy k-centre coreset, exact and in few passes over the data.

The memory bank is a coreset of the patch features: start at one patch and always add the patch farthest from
those chosen (PatchCore, Roth et al., CVPR 2022, section 3.2, Algorithm 1; the greedy of Gonzalez, 1985). A plain loop
reads all N patches once for each of its M picks. This one reads them once for some hundred picks:

    Squared distances to the chosen rows only ever fall, so an old value is an upper bound of the new one.
    Take the K patches with the largest values as a pool, and the largest value outside it as a bound.
    Greedy inside the pool picks what plain greedy picks, for as long as the pool's maximum reaches the bound.
    Then one matrix product brings all N values up to date, and a new pool is taken.

Letters: N patches, D features, M picks, K patches in the pool, t picks of one pass.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

_POOL = 4096
_BLOCK_VALUES = 1 << 22  # patches of a block times picks of a pass: 16 MiB of float32 products
_ROUNDING = 1e-13  # of a float64 sum of squares


@dataclass(frozen=True)
class Coreset:
    """The picks of a greedy k-centre traversal. Every prefix of it is a coreset too.

    Attributes:
        indices: int64 (M,), the row of each pick in the features, in pick order, no row twice.
        radii: float64 (M,), Euclidean, not rising: after pick i every patch lies within ``radii[i]`` of one of
            the picks 0 to i. In the projected space where a projection was asked for.
    """

    indices: NDArray[np.int64]
    radii: NDArray[np.float64]


def select(
    features: NDArray[np.float32],
    size: int,
    *,
    seed: int,
    projection_dim: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Coreset:
    """Choose a coreset by greedy k-centre: the picks of the plain algorithm, ties aside.

    Args:
        features: float32 (N, D), finite; may be a memory-mapped file, which is read in blocks, front to back.
        size: M, from 1 to N. Fewer picks come back when fewer cover every patch at distance 0.
        seed: chooses the first pick, and the projection where there is one.
        projection_dim: measure distances after a Gaussian random projection to so many dimensions
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
    _check(features, size)
    generator = np.random.default_rng(seed)
    first = int(generator.integers(len(features)))
    patches = _Patches(features, _projection(generator, features.shape[1], projection_dim))
    return _Traversal(patches, first, size, progress or (lambda _: None)).run()


def _check(features: NDArray[np.float32], size: int) -> None:
    if features.ndim != 2 or 0 in features.shape or features.dtype != np.float32:
        raise ValueError(f"features: got {features.dtype} {features.shape}, expected float32 (N, D), none of them 0")
    if not 1 <= size <= len(features):
        raise ValueError(f"size: got {size}, expected 1 to {len(features)}, the number of patches")


def _projection(generator: np.random.Generator, from_dim: int, to_dim: int | None) -> "torch.Tensor | None":
    import torch

    if to_dim is None:
        return None
    matrix = generator.standard_normal((from_dim, to_dim)) / np.sqrt(to_dim)  # (D, P): keeps lengths on average
    return torch.from_numpy(matrix.astype(np.float32))


class _Patches:
    """The patches as centred float32 blocks: a mean near 0 keeps the rounding of a product small."""

    def __init__(self, features: NDArray[np.float32], projection: "torch.Tensor | None") -> None:
        self._features = features
        self._projection = projection
        self.count = len(features)
        sample = np.asarray(features[:: max(1, self.count // 4096)], dtype=np.float64)
        self._mean = sample.mean(axis=0).astype(np.float32)

    def rows(self, where: slice | NDArray[np.int64]) -> "torch.Tensor":
        """Return some patches as float32 (rows, D or P)."""
        import torch

        centred = torch.from_numpy(self._features[where] - self._mean)
        return centred if self._projection is None else centred @ self._projection


class _Traversal:
    """One run of the algorithm; its state is the distance of every patch to the picks made so far."""

    def __init__(self, patches: _Patches, first: int, size: int, progress: Callable[[int], None]) -> None:
        self._patches = patches
        self._size = size
        self._progress = progress
        self._picks = [first]
        self._reach: list[float] = []  # squared distance of each pick to the picks before it, from the second on
        # Squared distance (N,) of every patch to its nearest pick, and which pick that is: what the blocks update.
        self._distance = np.full(patches.count, np.inf, dtype=np.float32)
        self._nearest = np.zeros(patches.count, dtype=np.int64)

    def run(self) -> Coreset:
        known = 0
        while True:
            self._update(known)
            known = len(self._picks)
            self._progress(known)
            pool, bound = self._pool()
            if known == self._size or not self._pick_from(pool, bound):
                break
        # What is left uncovered after the last pick is its radius; every other radius is the reach of the next pick.
        reach = np.array([*self._reach, self._exact(pool)[1].max()], dtype=np.float64)
        # A cover never gets worse with another pick; where rounding says so, the larger value holds for both.
        reach = np.maximum.accumulate(reach[::-1])[::-1]
        return Coreset(np.array(self._picks, dtype=np.int64), np.sqrt(reach))

    def _update(self, known: int) -> None:
        """Lower every patch's distance by the picks from number ``known`` on: one pass over the data."""
        import torch

        picks = self._patches.rows(np.array(self._picks[known:], dtype=np.int64))  # (t, D)
        half_norms = picks.square().sum(dim=1) / 2  # (t,)
        block = max(256, _BLOCK_VALUES // len(picks))
        for start in range(0, self._patches.count, block):
            part = slice(start, min(start + block, self._patches.count))
            rows = self._patches.rows(part)  # (B, D)
            # |x - c|^2 = |x|^2 + 2 (|c|^2 / 2 - x c): the smallest of the brackets is the nearest pick.
            smallest, which = torch.addmm(half_norms, rows, picks.T, alpha=-1).min(dim=1)  # (B,)
            candidate = (rows.square().sum(dim=1) + 2 * smallest).clamp_(min=0).numpy()
            if not np.isfinite(candidate).all():
                raise ValueError(f"features: got a value that is not finite in rows {part.start} to {part.stop}")
            closer = candidate < self._distance[part]
            self._distance[part][closer] = candidate[closer]
            self._nearest[part][closer] = which.numpy()[closer] + known
        # Rounding may leave a pick nearer to another one than to itself: without this it could be picked again.
        self._distance[self._picks[known:]] = 0
        self._nearest[self._picks[known:]] = np.arange(known, len(self._picks))

    def _pool(self) -> tuple[NDArray[np.int64], float]:
        """Return the K patches with the largest distances, and the largest of the others, squared."""
        count = self._patches.count
        if count <= _POOL:
            return np.arange(count, dtype=np.int64), -1.0
        order = np.argpartition(self._distance, count - _POOL - 1)
        bound = float(self._distance[order[count - _POOL - 1]])
        return np.sort(order[count - _POOL :]), bound

    def _exact(self, pool: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the pool's rows (K, D) and their squared distances (K,) without the rounding of a float32 product."""
        rows = self._patches.rows(pool).double()
        nearest = np.array(self._picks, dtype=np.int64)[self._nearest[pool]]
        distance = (rows - self._patches.rows(nearest).double()).square().sum(dim=1)
        return rows.numpy(), distance.numpy()

    def _pick_from(self, pool: NDArray[np.int64], bound: float) -> bool:
        """Run greedy inside the pool while it is plain greedy; return False when every patch is covered."""
        rows, distance = self._exact(pool)
        norms = np.einsum("kd,kd->k", rows, rows)
        before = len(self._picks)
        while len(self._picks) < self._size:
            best = int(distance.argmax())
            # The pool's first maximum is the maximum of all, whatever rounding says of the bound.
            if distance[best] <= 0 or (distance[best] < bound and len(self._picks) > before):
                break
            self._picks.append(int(pool[best]))
            self._reach.append(float(distance[best]))
            to_best = norms + norms[best] - 2 * (rows @ rows[best])
            to_best[to_best < _ROUNDING * norms] = 0.0  # a copy of the pick, not a patch of its own
            np.minimum(distance, to_best, out=distance)
            distance[best] = 0.0
        return len(self._picks) > before
