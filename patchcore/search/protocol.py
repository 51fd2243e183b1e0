"""What every search over the rows of a bank can do, and the checks that all of them make.

Letters: Q queries, M bank rows, D features, k neighbours.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Search(Protocol):
    """An exact search for the nearest rows of a bank. Several threads may use it at once."""

    def search(self, queries: NDArray[np.float32], k: int = 1) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Find the k nearest rows of each query.

        Args:
            queries: float32 (Q, D).
            k: from 1 to M.

        Returns:
            Euclidean distances, float32 (Q, k), in rising order along k, and the numbers of the rows, int64 (Q, k).
            Of rows at the same distance the lower number comes first.

        Raises:
            ValueError: the shape, the type or k has no meaning, or a query is not finite.
        """
        ...


def require_rows(rows: NDArray[np.float32]) -> None:
    """Check the rows that a search is made from.

    Raises:
        ValueError: they are not float32 (M, D), or there are none.
    """
    if rows.ndim != 2 or 0 in rows.shape or rows.dtype != np.float32:
        raise ValueError(f"rows: got {rows.dtype} {rows.shape}, expected float32 (M, D), none of them 0")


def require_queries(queries: NDArray[np.float32], k: int, rows: NDArray[np.float32]) -> None:
    """Check what a search is asked for.

    Raises:
        ValueError: the queries are not float32 (Q, D) of the rows' D, or k is not from 1 to M.
    """
    count, width = rows.shape
    if queries.ndim != 2 or queries.shape[1] != width or queries.dtype != np.float32:
        raise ValueError(f"queries: got {queries.dtype} {queries.shape}, expected float32 (Q, {width})")
    if not 1 <= k <= count:
        raise ValueError(f"k: got {k}, expected 1 to {count}, the number of bank rows")
