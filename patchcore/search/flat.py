"""The plain exact search: every query against every row, by faiss.

It finds several neighbours, and is the reference for the faster search of one neighbour.

Letters: Q queries, M bank rows, D features, k neighbours.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchcore.search.protocol import require_queries, require_rows


class FlatSearch:
    """A flat faiss index: a `patchcore.search.protocol.Search` with nothing to tune.

    The returned distances are computed again from the differences of the features, because faiss computes
    |q|^2 + |m|^2 - 2 q m, which leaves a rounding error where the distance is small.

    Example:
        >>> search = FlatSearch(np.array([[0.0], [10.0], [11.0]], dtype=np.float32))
        >>> distances, numbers = search.search(np.array([[9.0]], dtype=np.float32), k=2)
        >>> distances.tolist(), numbers.tolist()
        ([[1.0, 2.0]], [[1, 2]])
    """

    def __init__(self, rows: NDArray[np.float32]) -> None:
        """Take the rows, float32 (M, D).

        Raises:
            ValueError: the shape or the type has no meaning.
        """
        require_rows(rows)
        self._rows = np.ascontiguousarray(rows)

    def search(self, queries: NDArray[np.float32], k: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the k nearest rows of each query; see `patchcore.search.protocol.Search.search`.

        Raises:
            ValueError: the shape, the type or k has no meaning, or a query is not finite.
        """
        require_queries(queries, k, self._rows)
        _, found = self._index.search(np.ascontiguousarray(queries), k)  # (Q, k)
        if (found < 0).any():  # faiss says so that a distance is not a number
            raise ValueError("queries: got a value that is not finite, expected finite features")
        squared = np.empty(found.shape, dtype=np.float32)
        for column in range(k):
            difference = queries - self._rows[found[:, column]]  # (Q, D)
            squared[:, column] = np.einsum("qd,qd->q", difference, difference)
        order = np.lexsort((found, squared), axis=1)
        return np.sqrt(np.take_along_axis(squared, order, 1)), np.take_along_axis(found, order, 1)

    @cached_property
    def _index(self) -> Any:
        import faiss

        index = faiss.IndexFlatL2(self._rows.shape[1])
        index.add(self._rows)
        return index
