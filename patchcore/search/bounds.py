"""Exact nearest rows by a lower bound: few coordinates exclude nearly every row, the rest is compared in full.

Points are turned into *short vectors*: their coordinates along the leading principal axes, and the norm of the rest.
The distance of two short vectors is at most that of the points: along the axes it is a part of it, and the norms of two
rests differ by no more than the rests do. Rows near one another form cells of 16, each with its bounding box in the
first coordinates. A box that lies beyond a point's best row excludes a cell; then 16, 32 and 48 coordinates exclude
rows; for those that are left the distance is computed from the differences of all features.

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
    """A centre and directions from it. Any will do for an exact search; principal axes make it fast.

    Attributes:
        mean: float32 (D,), the centre.
        matrix: float32 (D, K - 1), its columns the axes; its largest singular value is below 1.
    """

    mean: NDArray[np.float32]
    matrix: NDArray[np.float32]

    @classmethod
    def fit(cls, rows: NDArray[np.float32]) -> "Axes":
        """Return the leading principal axes of rows, float32 (M, D), nearly: by a few steps of subspace iteration.

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
        basis += np.resize(centred, basis.shape[::-1]).T  # any start will do that is not blind to all that varies
        for _ in range(_STEPS):
            basis = np.linalg.qr(centred.T @ (centred @ basis))[0]
        turn = np.linalg.svd(centred @ basis, full_matrices=False)[2]  # rows: the largest variance first
        matrix = np.zeros((depth, _AXES), dtype=np.float32)
        # A hair shorter than 1, so that no direction is stretched by the rounding to float32.
        matrix[:, : len(turn)] = (basis @ turn.T) * np.float32(1 - 1e-5)
        return cls(mean.astype(np.float32), matrix)

    def shorten(self, points: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return short vectors, float64 (N, K): the norm of the rest, then the coordinates along the axes."""
        parts = np.array_split(points, -(-len(points) // _SAMPLE))
        return np.concatenate([self._shorten(part) for part in parts])

    def _shorten(self, points: NDArray[np.float32]) -> NDArray[np.float64]:
        centred = points.astype(np.float64) - self.mean
        along = centred @ self.matrix.astype(np.float64)
        rest = np.einsum("nd,nd->n", centred, centred) - np.einsum("nk,nk->n", along, along)
        return np.column_stack([np.sqrt(np.maximum(rest, 0)), along])


class Cells:
    """Rows of a bank, sorted into cells, for exact comparisons with many points."""

    def __init__(self, rows: NDArray[np.float32], axes: Axes, first: int = 0) -> None:
        """Take the rows and sort them.

        Args:
            rows: float32 (M, D).
            axes: fitted to these rows or to others like them.
            first: the number of the first row, where they are part of a larger set.

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
        """Lower the distance of each point to the nearest row known so far, where one of these rows is nearer.

        A row replaces the one known if its squared distance, computed in float32 from the differences of the features,
        is smaller, or equal with a smaller number. So the result does not depend on what was compared before, on the
        other points, or on the axes. Runs on the calling thread without Python's lock.

        Args:
            points: float32 (N, D).
            squared: float32 (N,), Euclidean, squared, changed in place; infinite where nothing is known.
            nearest: int64 (N,), the number of that row, changed in place; -1 where nothing is known.

        Returns:
            int64 (4,): how many pairs of a point and a cell were compared by 16 coordinates, by 32 and by 48, and how
            many pairs of a point and a row by all features.

        Raises:
            ValueError: a point is not finite, or so far away that its squared distance is not.
        """
        work = np.zeros(STAGES + 1, dtype=np.int64)
        bad = kernels.lower(self._bank, np.ascontiguousarray(points).reshape(-1), squared, nearest, work)
        if bad >= 0:
            raise ValueError(f"points: got a value that is not finite in row {bad}, expected finite features")
        return work


def _filled(array: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an array with zeros behind it along each axis, of a shape."""
    return np.pad(array, [(0, to - size) for size, to in zip(array.shape, shape, strict=True)])


def _rounding(depth: int, reach: float) -> NDArray[np.float32]:
    """Return what the float32 arithmetic of the search may be wrong by, float32 (4,).

    By the standard bound (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1) a sum of n products is
    wrong by at most n u / (1 - n u) times the sum of their magnitudes, u = 2^-24.

    Args:
        depth: D.
        reach: the largest norm of a row's short vector.

    Returns:
        The error of a point's coordinates along the axes, as a share of its norm; the error of the square of the rest's
        norm, as a share of the norm's square; the error of a row's short vector, Euclidean; and 1 + the share by which
        a sum of squares may be wrong.
    """
    coordinates = np.sqrt(COORDINATES) * (depth + 4) * _UNIT
    rest = (depth + 4) * _UNIT + 3 * coordinates
    relative = 1 + 2 * (depth + COORDINATES + 16) * _UNIT
    return np.array([2 * coordinates, rest, 64 * _UNIT * reach, relative], dtype=np.float32)


def _cells(short: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows in an order in which each 16 form a cell: halves along the coordinate that varies most.

    The last cell is filled up with copies of its last row.
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
