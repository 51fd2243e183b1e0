"""Exact nearest neighbours among the rows of a memory bank.

Letters: Q queries, M bank rows, D features, k neighbours.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray


class NearestNeighbours:
    """A search over the rows of a bank, rebuilt from the array whenever a bank is loaded.

    The nearest row is found by lower bounds, several by a flat faiss index. The distances that come back are computed
    directly from the differences, because the product |q|^2 + |m|^2 - 2 q m leaves a rounding error where the answer is
    small: a row of the bank against itself is at distance 0 here, exactly.
    """

    def __init__(self, rows: NDArray[np.float32]) -> None:
        """Take the rows, float32 (M, D).

        Raises:
            ValueError: the shape or the type has no meaning, or a row is not finite.
        """
        from patchcore.search.bounds import Axes, Cells

        if rows.ndim != 2 or 0 in rows.shape or rows.dtype != np.float32:
            raise ValueError(f"rows: got {rows.dtype} {rows.shape}, expected float32 (M, D), none of them 0")
        self._rows = np.ascontiguousarray(rows)
        self._cells = Cells(self._rows, Axes.fit(self._rows))

    def search(self, queries: NDArray[np.float32], k: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the k nearest rows of each query.

        What is found for a query depends on it and on the rows alone. For k = 1 the search runs on the calling thread
        without Python's lock: batches go side by side in threads.

        Args:
            queries: float32 (Q, D).
            k: from 1 to M.

        Returns:
            Euclidean distances, float32 (Q, k), not falling along k, and the numbers of the rows, int64 (Q, k).
            Of rows at the same distance the lower number comes first.

        Raises:
            ValueError: the shape, the type or k has no meaning, or a query is not finite.
        """
        count, width = self._rows.shape
        if queries.ndim != 2 or queries.shape[1] != width or queries.dtype != np.float32:
            raise ValueError(f"queries: got {queries.dtype} {queries.shape}, expected float32 (Q, {width})")
        if not 1 <= k <= count:
            raise ValueError(f"k: got {k}, expected 1 to {count}, the number of bank rows")
        return self._nearest(queries) if k == 1 else self._several(queries, k)

    def _nearest(self, queries: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        squared = np.full(len(queries), np.inf, dtype=np.float32)
        found = np.full(len(queries), -1, dtype=np.int64)
        self._cells.lower(queries, squared, found)
        return np.sqrt(squared)[:, None], found[:, None]

    @cached_property
    def _flat(self) -> Any:
        import faiss

        index = faiss.IndexFlatL2(self._rows.shape[1])
        index.add(self._rows)
        return index

    def _several(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        _, found = self._flat.search(np.ascontiguousarray(queries), k)  # (Q, k)
        if (found < 0).any():  # faiss's way to say that a distance is not a number
            raise ValueError("queries: got a value that is not finite, expected finite features")
        squared = np.empty(found.shape, dtype=np.float32)
        for column in range(k):
            difference = queries - self._rows[found[:, column]]  # (Q, D)
            squared[:, column] = np.einsum("qd,qd->q", difference, difference)
        order = np.lexsort((found, squared), axis=1)
        return np.sqrt(np.take_along_axis(squared, order, 1)), np.take_along_axis(found, order, 1)
