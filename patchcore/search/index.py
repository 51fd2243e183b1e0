"""Exact nearest neighbours among the rows of a memory bank.

Letters: Q queries, M bank rows, D features, k neighbours.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from patchcore.search.flat import FlatSearch
from patchcore.search.protocol import require_queries, require_rows


class NearestNeighbours:
    """The search over the rows of a bank: a `patchcore.search.protocol.Search`.

    It is built from the array whenever a bank is loaded. One neighbour is found by lower bounds (see
    `patchcore.search.bounds`), several are found by `patchcore.search.flat.FlatSearch`. Distances are computed from the
    differences of the features: the distance of a row to itself is exactly 0.

    Example:
        >>> search = NearestNeighbours(np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32))
        >>> distances, numbers = search.search(np.array([[0.0, 1.0], [3.0, 4.0]], dtype=np.float32))
        >>> distances.tolist(), numbers.tolist()
        ([[1.0], [0.0]], [[0], [1]])
    """

    def __init__(self, rows: NDArray[np.float32]) -> None:
        """Take the rows, float32 (M, D).

        Raises:
            ValueError: the shape or the type has no meaning, or a row is not finite.
        """
        from patchcore.search.bounds import Axes, Cells

        require_rows(rows)
        self._rows = np.ascontiguousarray(rows)
        self._cells = Cells(self._rows, Axes.fit(self._rows))

    def search(self, queries: NDArray[np.float32], k: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the k nearest rows of each query.

        The result for a query depends on the query and the rows only. For k = 1 the search runs on the calling thread
        and releases Python's lock, so batches can run in parallel threads.

        Args:
            queries: float32 (Q, D).
            k: from 1 to M.

        Returns:
            Euclidean distances, float32 (Q, k), in rising order along k, and the numbers of the rows, int64 (Q, k).
            Of rows at the same distance the lower number comes first.

        Raises:
            ValueError: the shape, the type or k has no meaning, or a query is not finite.
        """
        require_queries(queries, k, self._rows)
        if k > 1:
            return self._flat.search(queries, k)
        squared = np.full(len(queries), np.inf, dtype=np.float32)
        found = np.full(len(queries), -1, dtype=np.int64)
        self._cells.lower(queries, squared, found)
        return np.sqrt(squared)[:, None], found[:, None]

    @cached_property
    def _flat(self) -> FlatSearch:
        return FlatSearch(self._rows)
