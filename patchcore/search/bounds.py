"""Exact nearest rows by a lower bound: a few coordinates exclude nearly every row, the others are compared in full.

Each point becomes a *short vector*: the norm of its residual, then its coordinates along the leading principal axes.
The distance between two short vectors is a lower bound of the distance between the points: the axes are orthonormal,
and the norms of two residuals differ by at most the distance between the residuals (triangle inequality). Rows near one
another form cells of 16, each with a bounding box in the first coordinates. A cell is excluded if its box is farther
away than the best row so far; then 16, 32 and 48 coordinates exclude rows. For the rows that are left, the distance is
computed from the differences of all features.

Importing this module imports numba: import it where it is used.

Letters: N points, M rows, D features, K coordinates of a short vector, C cells of 16 rows.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchcore.search import kernels
from patchcore.search.kernels import BOX, COORDINATES, STAGES, Bank
from patchcore.search.simd import LANES

_AXES = COORDINATES - 1
_SAMPLE = 4096  # rows that the axes are computed from
_STEPS = 6
_UNIT = float(np.finfo(np.float32).eps) / 2  # the largest relative error of one rounding


@dataclass(frozen=True)
class Axes:
    """A centre and orthogonal directions. Any directions give an exact search; principal axes give a fast one.

    Attributes:
        mean: float32 (D,), the centre.
        matrix: float32 (D, K - 1), the axes in its columns; its largest singular value is below 1.

    Example:
        >>> rows = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)  # (M, D)
        >>> axes = Axes.fit(rows)
        >>> axes.matrix.shape, axes.shorten(rows).shape
        ((8, 47), (100, 48))
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    @classmethod
    def fit(cls, rows: NDArray[np.float32]) -> "Axes":
        """Return approximate leading principal axes of rows, float32 (M, D), by subspace iteration.

        Source: Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 2011, Algorithm 4.4, with a
        start that is computed from the rows instead of a random one.

        Raises:
            ValueError: a value is not finite.
        """
        sample = rows[:: -(-len(rows) // _SAMPLE)]
        mean = sample.mean(axis=0, dtype=np.float64)
        if not np.isfinite(mean).all():
            raise ValueError("rows: got a value that is not finite, expected finite features")
        centred = (sample - mean).astype(np.float32)
        centred /= max(float(np.abs(centred).max()), 1e-30)  # squares of large numbers leave the range of a float32
        depth = rows.shape[1]
        basis = np.eye(depth, min(depth, _AXES), dtype=np.float32)
        basis += np.resize(centred, basis.shape[::-1]).T  # the start must not be orthogonal to everything that varies
        for _ in range(_STEPS):
            basis = np.linalg.qr(centred.T @ (centred @ basis))[0]
        turn = np.linalg.svd(centred @ basis, full_matrices=False)[2]  # rows: the largest variance first
        matrix = np.zeros((depth, _AXES), dtype=np.float32)
        # Slightly shorter than 1, so that rounding to float32 stretches no direction.
        matrix[:, : len(turn)] = (basis @ turn.T) * np.float32(1 - 1e-5)
        return cls(mean.astype(np.float32), matrix)

    def shorten(self, points: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the short vectors of points, float32 (N, D): float64 (N, K)."""
        parts = np.array_split(points, -(-len(points) // _SAMPLE))
        return np.concatenate([self._shorten(part) for part in parts])

    def _shorten(self, points: NDArray[np.float32]) -> NDArray[np.float64]:
        centred = points.astype(np.float64) - self.mean
        along = centred @ self.matrix.astype(np.float64)
        rest = np.einsum("nd,nd->n", centred, centred) - np.einsum("nk,nk->n", along, along)
        return np.column_stack([np.sqrt(np.maximum(rest, 0)), along])


class Cells:
    """Rows of a bank, sorted into cells, for exact comparisons with many points.

    Example:
        >>> rows = np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32)  # (M, D)
        >>> cells = Cells(rows, Axes.fit(rows))
        >>> squared, nearest = np.full(1, np.inf, dtype=np.float32), np.full(1, -1)  # nothing is known yet
        >>> _ = cells.lower(np.array([[3.0, 3.0]], dtype=np.float32), squared, nearest)
        >>> squared.tolist(), nearest.tolist()
        ([1.0], [1])
    """

    def __init__(self, rows: NDArray[np.float32], axes: Axes, first: int = 0) -> None:
        """Take the rows and sort them.

        Args:
            rows: float32 (M, D).
            axes: fitted to these rows or to similar ones.
            first: the number of the first row, if the rows are part of a larger set.

        Raises:
            ValueError: a row is not finite.
        """
        width, depth = rows.shape[1], -(-rows.shape[1] // LANES) * LANES
        if not np.isfinite(rows).all():
            raise ValueError("rows: got a value that is not finite, expected finite features")
        short = axes.shorten(rows)
        order = _cells(short)  # (C 16,)
        blocks = short[order].astype(np.float32).reshape(-1, LANES, COORDINATES).transpose(0, 2, 1)  # (C, K, 16)
        boxes = np.stack([blocks[:, :BOX].min(axis=2), blocks[:, :BOX].max(axis=2)], axis=2)  # (C, BOX, 2)
        self._bank = Bank(
            width=width,
            depth=depth,
            mean=_filled(axes.mean, (depth,)),
            matrix=_filled(np.insert(axes.matrix, 0, 0, axis=1), (depth, COORDINATES)).reshape(-1),
            rounding=_rounding(depth, float(np.sqrt((short * short).sum(axis=1).max()))),
            boxes=boxes.reshape(-1),
            blocks=blocks.reshape(-1),
            rows=_filled(rows[order], (len(order), depth)).reshape(-1),
            numbers=order + first,
        )

    def lower(
        self, points: NDArray[np.float32], squared: NDArray[np.float32], nearest: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Lower the distance of each point to the nearest row known so far, if one of these rows is nearer.

        A row replaces the known one if its squared distance, computed in float32 from the differences of the features,
        is smaller, or is equal and the row has a smaller number. So the result does not depend on the order of
        comparisons, on other points or on the axes. It runs on the calling thread and releases Python's lock.

        Args:
            points: float32 (N, D).
            squared: float32 (N,), squared Euclidean distances, changed in place; infinite if no row is known.
            nearest: int64 (N,), the numbers of those rows, changed in place; -1 if no row is known.

        Returns:
            int64 (4,): the numbers of point-cell pairs that were compared by 16, 32 and 48 coordinates, and the number
            of point-row pairs that were compared by all features.

        Raises:
            ValueError: a point is not finite, or its squared distance overflows.
        """
        work = np.zeros(STAGES + 1, dtype=np.int64)
        bad = kernels.lower(self._bank, np.ascontiguousarray(points).reshape(-1), squared, nearest, work)
        if bad >= 0:
            raise ValueError(f"points: got a value that is not finite in row {bad}, expected finite features")
        return work


def _filled(array: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an array, filled up with zeros at the end of each axis to a shape."""
    return np.pad(array, [(0, to - size) for size, to in zip(array.shape, shape, strict=True)])


def _rounding(depth: int, reach: float) -> NDArray[np.float32]:
    """Return bounds of the rounding errors of the search's float32 arithmetic, float32 (4,).

    Source: Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1: the error of a sum of n products is
    at most n u / (1 - n u) times the sum of their magnitudes, with u = 2^-24.

    Args:
        depth: D.
        reach: the largest norm of a row's short vector.

    Returns:
        The error of a point's coordinates along the axes, relative to its norm; the error of the residual's squared
        norm, relative to the squared norm; the Euclidean error of a row's short vector; and 1 + the relative error of
        a sum of squares.
    """
    coordinates = np.sqrt(COORDINATES) * (depth + 4) * _UNIT
    rest = (depth + 4) * _UNIT + 3 * coordinates
    relative = 1 + 2 * (depth + COORDINATES + 16) * _UNIT
    return np.array([2 * coordinates, rest, 64 * _UNIT * reach, relative], dtype=np.float32)


def _cells(short: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return an order of the rows in which each 16 form a cell, by halving along the coordinate that varies most.

    Copies of its last row fill up the last cell.
    """
    order: list[NDArray[np.int64]] = []
    parts: list[NDArray[np.int64]] = [np.arange(len(short), dtype=np.int64)]
    while parts:
        part = parts.pop()
        if len(part) <= LANES:
            order.append(part)
            continue
        values = short[part, :BOX]
        ranked = part[np.argsort(values[:, values.var(axis=0).argmax()], kind="stable")]
        middle = -(-(len(part) // 2) // LANES) * LANES
        parts += [ranked[middle:], ranked[:middle]]
    joined = np.concatenate(order)
    filler: Any = np.full(-len(joined) % LANES, joined[-1], dtype=np.int64)
    return np.concatenate([joined, filler])
