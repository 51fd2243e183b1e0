"""The compiled loop of greedy inside a pool of patches. Importing this module imports numba.

A patch and a pick are compared in steps, each of which excludes most pairs: by 16 coordinates of their short vectors,
by 16 more and so on (see `patchcore.search.bounds`), and at last by all features in float64. Only the last distance is
compared with other distances, so the picks are those of float64 arithmetic.

Letters: K patches of the pool, D features, t picks.
"""

import numpy as np

from patchcore.search.jit import compiled
from patchcore.search.simd import LANES, add_squares, fill, load_block, lowest_bit, within

VECTORS = "dae494419f48d340"
"""The first digits of the sha256 of simd.py; see `patchcore.search.kernels.VECTORS`."""


@compiled
def _squared_distance(rows, i, j):  # type: ignore[no-untyped-def]
    """Return the squared distance of rows i and j of (K, D), in eight float64 sums in a fixed order."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    depth = rows.shape[1]
    whole = depth - depth % 8
    for k in range(0, whole, 8):
        d0, d1 = np.float64(rows[i, k]) - rows[j, k], np.float64(rows[i, k + 1]) - rows[j, k + 1]
        d2, d3 = np.float64(rows[i, k + 2]) - rows[j, k + 2], np.float64(rows[i, k + 3]) - rows[j, k + 3]
        d4, d5 = np.float64(rows[i, k + 4]) - rows[j, k + 4], np.float64(rows[i, k + 5]) - rows[j, k + 5]
        d6, d7 = np.float64(rows[i, k + 6]) - rows[j, k + 6], np.float64(rows[i, k + 7]) - rows[j, k + 7]
        s0 += d0 * d0
        s1 += d1 * d1
        s2 += d2 * d2
        s3 += d3 * d3
        s4 += d4 * d4
        s5 += d5 * d5
        s6 += d6 * d6
        s7 += d7 * d7
    for k in range(whole, depth):
        d0 = np.float64(rows[i, k]) - rows[j, k]
        s0 += d0 * d0
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


@compiled
def _limit(squared, slack):  # type: ignore[no-untyped-def]
    """Return the largest float32 squared distance of short vectors at which the true one can be below ``squared``."""
    root = np.sqrt(squared) + slack
    return np.float32(root * root * 1.0001)


@compiled
def _lowered(rows, short, place, picks, blocks, begin, end, squared, slack):  # type: ignore[no-untyped-def]
    """Return the squared distance of the patch at a place, updated with the picks from ``begin`` to ``end``."""
    width, alive = len(short) // len(rows), 0
    limit = _limit(squared, slack)
    for tile in range(begin // LANES, (end + LANES - 1) // LANES):
        bound = fill(np.float32(0))
        for stage in range(0, width, LANES):
            block = load_block(blocks, (tile * width + stage) * LANES)
            bound = add_squares(bound, block, short, place * width + stage)
            alive = within(bound, fill(limit))
            if not alive:
                break
        while alive:
            measured = _squared_distance(rows, place, picks[tile * LANES + lowest_bit(alive)])
            if measured < squared:
                squared = measured
                limit = _limit(squared, slack)
            alive &= (alive - 1) & within(bound, fill(limit))
    return squared


@compiled
def _above(a, b, squared):  # type: ignore[no-untyped-def]
    """Return whether patch a is farther than b; of two at the same distance the lower number is first."""
    return squared[a] > squared[b] or (squared[a] == squared[b] and a < b)


@compiled
def _sift(heap, count, place, squared):  # type: ignore[no-untyped-def]
    """Restore the order of a heap, the farthest patch on top, below a place."""
    child = 2 * place + 1
    while child < count:
        if child + 1 < count and _above(heap[child + 1], heap[child], squared):
            child += 1
        if _above(heap[place], heap[child], squared):
            return
        heap[place], heap[child] = heap[child], heap[place]
        place, child = child, 2 * child + 1


@compiled
def pick(rows, short, squared, bound, slack, picks):  # type: ignore[no-untyped-def]
    """Run greedy inside a pool while it equals plain greedy, until ``picks`` is full.

    A patch's distance is updated only when the patch comes to the top of a heap (lazy evaluation: Minoux, "Accelerated
    greedy algorithms for maximizing submodular set functions", 1978). Most patches are never updated.

    Args:
        rows: float32 (K, D).
        short: float32 (K S,), their short vectors; S is a multiple of 16.
        squared: float64 (K,), squared distances to the earlier picks, changed in place; that of a pick is its distance
            when it was picked.
        bound: the largest squared distance outside the pool.
        slack: the largest excess of the distance of two short vectors over that of their patches.
        picks: int64, filled with the picks, as places in the pool.

    Returns:
        The number of picks.
    """
    width, waiting, made = len(short) // len(rows), len(rows), 0
    heap, seen = np.arange(waiting), np.zeros(waiting, dtype=np.int64)
    blocks = np.full((len(picks) + LANES) * width, np.nan, dtype=np.float32)  # a comparison with NaN is false
    for place in range(waiting // 2 - 1, -1, -1):
        _sift(heap, waiting, place, squared)
    while made < len(picks) and waiting:
        top = heap[0]
        current = seen[top] == made
        if not current:
            squared[top] = _lowered(rows, short, top, picks, blocks, seen[top], made, squared[top], slack)
            seen[top] = made
        elif squared[top] > 0:
            picks[made] = top
            for k in range(width):
                blocks[(made // LANES * width + k) * LANES + made % LANES] = short[top * width + k]
            made += 1
        # The pool's first maximum is the overall maximum, even if the rounded bound is larger.
        if current or (made and squared[top] < bound):
            waiting -= 1
            heap[0] = heap[waiting]
        _sift(heap, waiting, 0, squared)
    return made
