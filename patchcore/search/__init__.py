"""Exact nearest neighbours among the rows of a memory bank.

`NearestNeighbours` is the search that banks use. `FlatSearch` is the plain one, by faiss. Both are a `Search`:

    >>> import numpy as np
    >>> from patchcore.search import FlatSearch, NearestNeighbours
    >>> rows = np.array([[0.0, 0.0], [3.0, 4.0]], dtype=np.float32)  # (M, D)
    >>> queries = np.array([[3.0, 3.0]], dtype=np.float32)  # (Q, D)
    >>> for search in (NearestNeighbours(rows), FlatSearch(rows)):
    ...     distances, numbers = search.search(queries)  # (Q, 1) each
    ...     print(distances.tolist(), numbers.tolist())
    [[1.0]] [[1]]
    [[1.0]] [[1]]
"""

from typing import TYPE_CHECKING

from patchcore._util.lazy import lazy_attributes

if TYPE_CHECKING:
    from patchcore.search.flat import FlatSearch
    from patchcore.search.index import NearestNeighbours
    from patchcore.search.protocol import Search

__all__ = ["FlatSearch", "NearestNeighbours", "Search"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "FlatSearch": "patchcore.search.flat",
        "NearestNeighbours": "patchcore.search.index",
        "Search": "patchcore.search.protocol",
    },
)
