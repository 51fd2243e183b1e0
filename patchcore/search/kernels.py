"""The compiled loops of the exact search; ``patchcore.search.bounds`` describes the algorithm and why it is exact.

Points are processed in tiles of 64 and compared cell by cell, so that a cell's rows are read from memory once for all
points that need them. Arrays are flat, and indices are not checked. Importing this module imports numba; the first call
compiles, or loads the code that an earlier process compiled and cached: beside this file, or in the user's cache folder
if this folder is read-only.

Letters: T points of a tile, D features, a multiple of 16, K coordinates of a short vector, C cells of 16 rows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchcore.search.jit import compiled
from patchcore.search.simd import (
    LANES,
    add_gap,
    add_squares,
    fill,
    load,
    load_block,
    lowest_bit,
    multiply_add,
    smaller,
    smallest,
    spread,
    store,
    subtract,
    total,
    within,
)

TILE = 64
COORDINATES = 48
BOX = 8  # coordinates that a box bounds
STAGES = COORDINATES // LANES
VECTORS = "dae494419f48d340"
"""The first digits of the sha256 of simd.py: numba recompiles cached code only if this file changes."""


class Bank(NamedTuple):
    """The rows of a bank in cells, with the constants for comparing points with them.

    Attributes:
        width: the number of features of a point, before zeros fill it up to D.
        depth: D.
        mean: float32 (D,), the centre of the axes.
        matrix: float32 (D, K), the axes; its first column is 0.
        rounding: float32 (4,), see ``patchcore.search.bounds``.
        boxes: float32 (C, BOX, 2), the smallest and the largest coordinates in each cell.
        blocks: float32 (C, K, 16), the short vectors of the rows.
        rows: float32 (C 16, D), the rows.
        numbers: int64 (C 16,), the row numbers in the bank.
    """

    width: int
    depth: int
    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]
    rounding: NDArray[np.float32]
    boxes: NDArray[np.float32]
    blocks: NDArray[np.float32]
    rows: NDArray[np.float32]
    numbers: NDArray[np.int64]


class _Tile(NamedTuple):
    """The points of one tile, and work space.

    Attributes:
        points: float32 (T, D), the points.
        centred: float32 (4, D), four of them minus the mean.
        short: float32 (T, K), the short vectors.
        columns: float32 (BOX, T), the first coordinates of the short vectors.
        slack: float32 (T,), the largest error of a distance between short vectors.
        limits: float32 (T,), the squared distance of short vectors above which a row is excluded.
        starts: float32 (T,), the squared distance to the nearest box if no row is known yet; else -1.
        bounds: float32 (C, T), the squared distance of every point to every box; infinite after the comparison.
        listed: int64 (T,), the points that are compared with the current cell.
        sums: float32 (T, 16), partial squared distances of the listed points to the cell's rows.
    """

    points: NDArray[np.float32]
    centred: NDArray[np.float32]
    short: NDArray[np.float32]
    columns: NDArray[np.float32]
    slack: NDArray[np.float32]
    limits: NDArray[np.float32]
    starts: NDArray[np.float32]
    bounds: NDArray[np.float32]
    listed: NDArray[np.int64]
    sums: NDArray[np.float32]


@compiled
def _squared_distance(a, i, b, j, depth):  # type: ignore[no-untyped-def]
    """Return the squared distance between D numbers of a from i on and D of b from j on, in 16 interleaved sums."""
    squares = fill(np.float32(0))
    for d in range(0, depth, LANES):
        difference = subtract(load(a, i + d), load(b, j + d))
        squares = multiply_add(difference, difference, squares)
    return total(squares)


@compiled
def _squared_norm(a, i, depth):  # type: ignore[no-untyped-def]
    squares = fill(np.float32(0))
    for d in range(0, depth, LANES):
        squares = multiply_add(load(a, i + d), load(a, i + d), squares)
    return total(squares)


@compiled
def _copy(bank, tile, source, i, t):  # type: ignore[no-untyped-def]
    """Copy a point to its place in the tile, and the centred point to one of four places."""
    target = t * bank.depth
    for d in range(0, bank.width - LANES + 1, LANES):
        store(load(source, i + d), tile.points, target + d)
    for d in range(bank.width // LANES * LANES, bank.width):
        tile.points[target + d] = source[i + d]
    for d in range(0, bank.depth, LANES):
        centred = subtract(load(tile.points, target + d), load(bank.mean, d))
        store(centred, tile.centred, t % 4 * bank.depth + d)


@compiled
def _project(bank, tile, t):  # type: ignore[no-untyped-def]
    """Write the coordinates of four centred points, from t on: four share one read of the matrix."""
    depth, centred = bank.depth, tile.centred
    for k in range(0, COORDINATES, LANES):
        first = second = third = fourth = fill(np.float32(0))
        for d in range(bank.width):
            axes = load(bank.matrix, d * COORDINATES + k)
            first = multiply_add(spread(centred, d), axes, first)
            second = multiply_add(spread(centred, depth + d), axes, second)
            third = multiply_add(spread(centred, 2 * depth + d), axes, third)
            fourth = multiply_add(spread(centred, 3 * depth + d), axes, fourth)
        store(first, tile.short, t * COORDINATES + k)
        store(second, tile.short, (t + 1) * COORDINATES + k)
        store(third, tile.short, (t + 2) * COORDINATES + k)
        store(fourth, tile.short, (t + 3) * COORDINATES + k)


@compiled
def _add_rest(bank, tile, t):  # type: ignore[no-untyped-def]
    """Complete a short vector with the norm of the residual; return whether all values are finite."""
    norm = _squared_norm(tile.centred, t % 4 * bank.depth, bank.depth)
    along = _squared_norm(tile.short, t * COORDINATES, COORDINATES)
    rest = np.sqrt(max(norm - along, np.float32(0)))
    unsure = bank.rounding[1] * norm  # the square's error; the root's is this / root, at most its square root
    tile.short[t * COORDINATES] = rest
    root = max(rest, np.sqrt(unsure)) + np.float32(1e-30)
    tile.slack[t] = bank.rounding[0] * np.sqrt(norm) + bank.rounding[2] + unsure / root
    for k in range(BOX):
        tile.columns[k * TILE + t] = tile.short[t * COORDINATES + k]
    return tile.slack[t] < np.inf


@compiled
def _take(bank, tile, source, first, count):  # type: ignore[no-untyped-def]
    """Fill the tile; return -1, or the number of the first point that is not finite."""
    for group in range(0, count, 4):
        four = range(group, min(group + 4, count))
        for t in four:
            _copy(bank, tile, source, (first + t) * bank.width, t)
        _project(bank, tile, group)
        for t in four:
            if not _add_rest(bank, tile, t):
                return first + t
    return -1


@compiled
def _bound_cells(bank, tile, cells):  # type: ignore[no-untyped-def]
    """Write the squared distance of every point to every box, and each point's smallest."""
    for t in range(0, TILE, LANES):
        least = fill(np.float32(np.inf))
        for cell in range(cells):
            gap = fill(np.float32(0))
            for k in range(BOX):
                side = (cell * BOX + k) * 2
                low, high = spread(bank.boxes, side), spread(bank.boxes, side + 1)
                gap = add_gap(gap, load(tile.columns, k * TILE + t), low, high)
            store(gap, tile.bounds, cell * TILE + t)
            least = smaller(gap, least)
        store(least, tile.starts, t)


@compiled
def _limit(bank, squared, slack):  # type: ignore[no-untyped-def]
    """Return the largest squared distance of short vectors at which the row can still be within ``squared``."""
    root = np.sqrt(squared * bank.rounding[3]) + slack
    return root * root * bank.rounding[3] + np.float32(1e-36)  # for denormal squares


@compiled
def _sift(bank, tile, cell, points, work):  # type: ignore[no-untyped-def]
    """List the points (given as bits) for which a row of the cell may be nearest; return how many there are."""
    # The points that are left after each 16 coordinates move up without a branch that could be mispredicted.
    block = load_block(bank.blocks, cell * COORDINATES * LANES)
    asked = left = 0
    while points:
        t = lowest_bit(points)
        points &= points - 1
        tile.bounds[cell * TILE + t] = np.inf
        sums = add_squares(fill(np.float32(0)), block, tile.short, t * COORDINATES)
        store(sums, tile.sums, left * LANES)
        tile.listed[left] = t
        left += within(sums, spread(tile.limits, t)) != 0
        asked += 1
    work[0] += asked
    for stage in range(1, STAGES):
        work[stage] += left
        asked, left = left, 0
        block = load_block(bank.blocks, (cell * COORDINATES + stage * LANES) * LANES)
        for place in range(asked):
            t = tile.listed[place]
            sums = add_squares(load(tile.sums, place * LANES), block, tile.short, t * COORDINATES + stage * LANES)
            store(sums, tile.sums, left * LANES)
            tile.listed[left] = t
            left += within(sums, spread(tile.limits, t)) != 0
    return left


@compiled
def _compare(bank, tile, cell, left, squared, nearest, work):  # type: ignore[no-untyped-def]
    """Compute the distances of the listed points to the rows that are left, and keep the nearest."""
    for place in range(left):
        t = tile.listed[place]
        sums = load(tile.sums, place * LANES)
        alive = within(sums, spread(tile.limits, t))
        lane = lowest_bit(within(sums, fill(smallest(sums))))  # the most promising row first
        while alive:
            row = cell * LANES + lane
            distance = _squared_distance(tile.points, t * bank.depth, bank.rows, row * bank.depth, bank.depth)
            if distance < squared[t] or (distance == squared[t] and bank.numbers[row] < nearest[t]):
                squared[t] = distance
                nearest[t] = bank.numbers[row]
                tile.limits[t] = _limit(bank, distance, tile.slack[t])
            work[STAGES] += 1
            alive &= ~(1 << lane) & within(sums, spread(tile.limits, t))
            lane = lowest_bit(alive)


@compiled
def _search(bank, tile, cells, squared, nearest, work):  # type: ignore[no-untyped-def]
    """Compare the points of a tile with the rows of all cells that their boxes do not exclude."""
    for t in range(TILE):
        tile.limits[t] = _limit(bank, squared[t], tile.slack[t]) if t < len(squared) else np.float32(-1)
        if tile.limits[t] < np.inf:
            tile.starts[t] = -1
    # First the cell with the nearest box, for a small limit; then every cell that cannot be excluded.
    for thresholds in (tile.starts, tile.limits):
        for cell in range(cells):
            points = 0
            for t in range(0, TILE, LANES):
                points |= within(load(tile.bounds, cell * TILE + t), load(thresholds, t)) << t
            if points:
                left = _sift(bank, tile, cell, points, work)
                _compare(bank, tile, cell, left, squared, nearest, work)


@compiled
def _new_tile(depth, cells):  # type: ignore[no-untyped-def]
    points, centred = np.zeros(TILE * depth, np.float32), np.zeros(4 * depth, np.float32)
    short, columns = np.zeros(TILE * COORDINATES, np.float32), np.zeros(BOX * TILE, np.float32)
    slack, limits, starts = np.zeros(TILE, np.float32), np.zeros(TILE, np.float32), np.zeros(TILE, np.float32)
    bounds, sums = np.empty(cells * TILE, np.float32), np.empty(TILE * LANES, np.float32)
    return _Tile(points, centred, short, columns, slack, limits, starts, bounds, np.empty(TILE, np.int64), sums)


@compiled
def lower(bank, points, squared, nearest, work):  # type: ignore[no-untyped-def]
    """Lower each point's squared distance, and the number of its nearest row, if a row of the bank is nearer.

    Returns -1, or the number of the first point that is not finite; the points before it are done.
    """
    cells = len(bank.numbers) // LANES
    tile = _new_tile(bank.depth, cells)
    for first in range(0, len(squared), TILE):
        count = min(TILE, len(squared) - first)
        bad = _take(bank, tile, points, first, count)
        if bad >= 0:
            return bad
        _bound_cells(bank, tile, cells)
        found = nearest[first : first + count]
        _search(bank, tile, cells, squared[first : first + count], found, work)
        for t in range(count):
            if found[t] < 0:
                return first + t
    return -1
