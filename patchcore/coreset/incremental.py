"""A bank that grows: new images add the patches that it does not cover yet, and no old feature is read again.

A coreset covers its data within its radius r. Patches that arrive later are covered as well once each of them lies
within r of a row, old or new: greedy k-centre (see `kcenter`) goes on among the new patches alone, from their
distances to the rows that are there, until that holds. Where the rows outgrow their budget, greedy runs over the rows
themselves: every row lies within s of a row that stays, hence every patch within r + s (the doubling algorithm of
Charikar, Chekuri, Feder, Motwani, "Incremental clustering and dynamic information retrieval", STOC 1997, rests on the
same sum). The certificate is that sum; the patches may lie nearer.

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

_ROUNDING = 1e-6  # a radius is known to so small a share of itself: what lies beyond by less is covered
_AT_ONCE = 32  # blocks of a group that are covered together: bounds what is kept of patches far from every row


@dataclass(frozen=True)
class Cover:
    """Rows, and how far from them the patches are that they stand for.

    Attributes:
        rows: float32 (M, D).
        sources: int32 (M, 3), for each row the number of its image in order of arrival, its grid row and column.
        radii: float64 (M,), Euclidean. Every patch of the images that had arrived when row i was chosen lies within
            ``radii[i]`` of one of the rows 0 to i: a bound that falls while a group's rows are chosen.
        images: how many images have arrived.
        patches: how many patches they have.
        arrivals: the groups that they came in.
        added: rows that groups after the first have added.
        merged: rows that were given up to stay within the budget; M is the first group's rows + added - merged.
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
        """The certificate: every patch of every image that has arrived lies within this distance of a row."""
        return float(self.radii[-1])


def begin(rows: NDArray[np.float32], chosen: kcenter.Coreset, grid: tuple[int, int, int]) -> Cover:
    """Return the cover of the first group.

    Args:
        rows: float32 (M, D), the patches that were chosen.
        chosen: the selection over all patches of the group, image by image, row by row of the grid.
        grid: B, h and w of the group.
    """
    sources = np.stack(np.unravel_index(chosen.indices, grid), axis=1).astype(np.int32)
    return Cover(rows, sources, chosen.radii, grid[0], int(np.prod(grid)), arrivals=1, added=0, merged=0)


def grow(cover: Cover, blocks: Iterable[NDArray[np.float32]], *, limit: int) -> Cover:
    """Cover the patches of a group that has arrived, within the radius that the cover has.

    Args:
        cover: of the groups before.
        blocks: the group's features, float32 (B, h, w, D), some images at a time; they are read once, and what is
            covered already is not kept.
        limit: rows to add at most for some hundred images, from 1. Where it is reached the radius becomes what the
            rows cover by then.
    """
    cover, waiting = replace(cover, arrivals=cover.arrivals + 1), iter(blocks)
    for block in waiting:
        outside = partial(_outside, cover, NearestNeighbours(cover.rows))
        found = list(in_order(outside, chain([block], islice(waiting, _AT_ONCE - 1))))
        cover = _with_rows(cover, found, limit)
    return cover


def merge(cover: Cover, size: int, *, seed: int) -> Cover:
    """Choose among the rows themselves; the radii add up.

    Args:
        cover: what has outgrown its budget.
        size: rows to keep, from 1 to M.
        seed: of the first pick.
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
    """What a block of images holds that no row covers: patches (U, D), where from (U, 3), how far (U,) from a row."""

    patches: NDArray[np.float32]
    sources: NDArray[np.int32]
    distances: NDArray[np.float64]
    shape: tuple[int, int, int]  # B, h, w of the whole block


def _outside(cover: Cover, index: NearestNeighbours, block: NDArray[np.float32]) -> _Outside:
    shape = block.shape[:3]
    patches = block.reshape(-1, block.shape[3])  # (B h w, D)
    measured, nearest = (found[:, 0] for found in index.search(patches))
    # A float32 sum of D squares is off by D roundings at most: what is near the radius is measured again.
    near = np.flatnonzero(measured > cover.radius * (1 - patches.shape[1] * np.finfo(np.float32).eps))
    exact = _distances(patches[near], cover.rows[nearest[near]])
    outside = exact > cover.radius * (1 + _ROUNDING)
    numbers = near[outside]
    sources = np.stack(np.unravel_index(numbers, shape), axis=1).astype(np.int32)
    return _Outside(patches[numbers], sources, exact[outside], shape)


def _with_rows(cover: Cover, found: Sequence[_Outside], limit: int) -> Cover:
    """Return the cover with the images of the blocks, and the rows that they need."""
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
    """Return the Euclidean distances of patches (U, D) to a row each, or to one row, without float32's rounding."""
    difference = patches.astype(np.float64) - rows
    return np.asarray(np.sqrt(np.einsum("ud,ud->u", difference, difference)))
