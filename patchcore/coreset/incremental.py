"""A bank that grows: new images add the patches that it does not cover yet; old features are not read again.

A coreset covers its data within its covering radius r. Patches that arrive later are covered too if each of them lies
within r of a row, old or new: greedy k-centre (see `kcenter`) continues among the new patches only, starting from their
distances to the present rows, until that holds. If the rows exceed their budget, greedy runs over the rows themselves:
every row lies within s of a row that is kept, so every patch lies within r + s (the doubling algorithm of Charikar,
Chekuri, Feder, Motwani, "Incremental clustering and dynamic information retrieval", STOC 1997, uses the same sum). That
sum is the certified covering radius; the true one may be smaller.

Letters: M bank rows, D features, B images, h w grid of patches, U patches that are not covered.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from patchcore._util.parallel import in_order
from patchcore.coreset import kcenter
from patchcore.search.index import NearestNeighbours
from patchcore.search.protocol import Search

_ROUNDING = 1e-6  # the relative error of a radius: a patch beyond it by less counts as covered
_AT_ONCE = 32  # blocks of a group that are covered together: bounds the memory for uncovered patches


@dataclass(frozen=True)
class Cover:
    """The rows of a growing bank, with the covering radius that is certified for all patches that have arrived.

    Attributes:
        rows: float32 (M, D).
        sources: int32 (M, 3), for each row the number of its image in order of arrival, its grid row and grid column.
        radii: float64 (M,), Euclidean. Every patch of the images that had arrived when row i was chosen lies within
            ``radii[i]`` of one of the rows 0 to i. The values fall while the rows of one group are chosen.
        images: the number of images that have arrived.
        patches: the number of their patches.
        arrivals: the number of groups in which they arrived.
        added: the number of rows that groups after the first added.
        merged: the number of rows removed to stay within the budget; M is the first group's rows + added - merged.
    """

    rows: NDArray[np.float32]
    sources: NDArray[np.int32]
    radii: NDArray[np.float64]
    images: int
    patches: int
    arrivals: int
    added: int
    merged: int

    @property
    def radius(self) -> float:
        """The certified covering radius, Euclidean: every patch that has arrived lies within it of a row."""
        return float(self.radii[-1])


def begin(rows: NDArray[np.float32], chosen: kcenter.Coreset, grid: tuple[int, int, int]) -> Cover:
    """Return the cover of the first group.

    Args:
        rows: float32 (M, D), the chosen patches.
        chosen: the selection over all patches of the group, image by image, row by row of the grid.
        grid: B, h and w of the group.

    Example:
        >>> patches = np.array([[0.0], [1.0], [10.0], [4.0]], dtype=np.float32)  # two images, 1 x 2 patches each
        >>> chosen = kcenter.select(patches, 2, seed=0)
        >>> cover = begin(patches[chosen.indices], chosen, (2, 1, 2))
        >>> cover.radius
        4.0
        >>> grown = grow(cover, [np.array([[[[16.0], [2.0]]]], dtype=np.float32)], limit=5)
        >>> grown.rows.ravel().tolist(), grown.images, grown.added
        ([4.0, 10.0, 16.0], 3, 1)
    """
    sources = np.stack(np.unravel_index(chosen.indices, grid), axis=1).astype(np.int32)
    return Cover(rows, sources, chosen.radii, grid[0], int(np.prod(grid)), arrivals=1, added=0, merged=0)


def grow(cover: Cover, blocks: Iterable[NDArray[np.float32]], *, limit: int) -> Cover:
    """Add rows until the patches of a new group lie within the covering radius.

    Args:
        cover: the cover of the earlier groups.
        blocks: the group's features, float32 (B, h, w, D), several images at a time. They are read once; patches that
            are covered already are not kept.
        limit: the largest number of rows to add for 32 blocks, at least 1. If it is reached, the covering radius
            rises to the largest distance that is left.

    Raises:
        ValueError: a feature is not finite.
    """
    cover, waiting = replace(cover, arrivals=cover.arrivals + 1), iter(blocks)
    for block in waiting:
        outside = partial(_outside, cover, NearestNeighbours(cover.rows))
        found = list(in_order(outside, chain([block], islice(waiting, _AT_ONCE - 1))))
        cover = _with_rows(cover, found, limit)
    return cover


def merge(cover: Cover, size: int, *, seed: int) -> Cover:
    """Keep a coreset of the rows themselves; its covering radius adds to that of the cover.

    Args:
        cover: the cover that exceeds its budget.
        size: the number of rows to keep, from 1 to M.
        seed: chooses the first pick.

    Raises:
        ValueError: the size is out of range.
    """
    chosen = kcenter.select(cover.rows, size, seed=seed)
    kept = chosen.indices
    return replace(
        cover,
        rows=cover.rows[kept],
        sources=cover.sources[kept],
        radii=chosen.radii + cover.radius,
        merged=cover.merged + len(cover.rows) - len(kept),
    )


@dataclass(frozen=True)
class _Outside:
    """The uncovered patches of a block: features (U, D), sources (U, 3), distances (U,) to the nearest row."""

    patches: NDArray[np.float32]
    sources: NDArray[np.int32]
    distances: NDArray[np.float64]
    shape: tuple[int, int, int]  # B, h, w of the whole block


def _outside(cover: Cover, index: Search, block: NDArray[np.float32]) -> _Outside:
    shape = block.shape[:3]
    patches = block.reshape(-1, block.shape[3])  # (B h w, D)
    measured, nearest = (found[:, 0] for found in index.search(patches))
    # A float32 sum of D squares has at most D rounding errors: distances near the radius are computed again.
    near = np.flatnonzero(measured > cover.radius * (1 - patches.shape[1] * np.finfo(np.float32).eps))
    exact = _distances(patches[near], cover.rows[nearest[near]])
    outside = exact > cover.radius * (1 + _ROUNDING)
    numbers = near[outside]
    sources = np.stack(np.unravel_index(numbers, shape), axis=1).astype(np.int32)
    return _Outside(patches[numbers], sources, exact[outside], shape)


def _with_rows(cover: Cover, found: Sequence[_Outside], limit: int) -> Cover:
    """Return the cover with the images of the blocks and the rows that cover them."""
    images = cover.images
    for block in found:
        block.sources[:, 0] += images
        images += block.shape[0]
    patches = np.concatenate([block.patches for block in found])  # (U, D)
    sources = np.concatenate([block.sources for block in found])  # (U, 3)
    distances = np.concatenate([block.distances for block in found])  # (U,)
    picks, radii = _cover_within(patches, distances, cover.radius, limit)
    return replace(
        cover,
        rows=np.concatenate([cover.rows, patches[picks]]),
        sources=np.concatenate([cover.sources, sources[picks]]),
        radii=np.concatenate([cover.radii, radii]),
        images=images,
        patches=cover.patches + sum(int(np.prod(block.shape)) for block in found),
        added=cover.added + len(picks),
    )


def _cover_within(
    patches: NDArray[np.float32], distances: NDArray[np.float64], radius: float, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pick the farthest patch until all (U,) lie within the radius; return the picks and the radius after each."""
    numbers = np.arange(len(patches))  # of those that are not covered yet
    picks: list[int] = []
    radii: list[float] = []
    while len(numbers) and len(picks) < limit:
        farthest = int(numbers[distances.argmax()])
        picks.append(farthest)
        np.minimum(distances, _distances(patches[numbers], patches[farthest]), out=distances)
        outside = distances > radius * (1 + _ROUNDING)
        numbers, distances = numbers[outside], distances[outside]
        radii.append(float(distances.max(initial=radius)))
    return np.array(picks, dtype=np.int64), np.array(radii, dtype=np.float64)


def _distances(patches: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the Euclidean distances of patches (U, D) to one row each, or all to one row, in float64."""
    difference = patches.astype(np.float64) - rows
    return np.asarray(np.sqrt(np.einsum("ud,ud->u", difference, difference)))
