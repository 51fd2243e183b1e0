"""The plain search is the reference: it agrees with numpy, and the faster search agrees with it."""

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcore.search.flat import FlatSearch
from patchcore.search.index import NearestNeighbours
from patchcore.search.protocol import Search


def cloud(count: int, depth: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(1.0, 2.0, (count, depth)).astype(np.float32)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("kind", [FlatSearch, NearestNeighbours])
def test_every_search_agrees_with_numpy(kind: type[FlatSearch] | type[NearestNeighbours], k: int) -> None:
    queries, rows = cloud(60, 17, 1), cloud(90, 17, 2)
    search: Search = kind(rows)
    distances, found = search.search(queries, k)
    every = np.linalg.norm(queries[:, None].astype(np.float64) - rows[None], axis=2)  # (Q, M)
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :k], rtol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(every, found, 1), np.sort(every, axis=1)[:, :k], rtol=1e-6)


def test_the_fast_search_agrees_with_the_plain_one() -> None:
    queries, rows = cloud(300, 152, 3), cloud(500, 152, 4)
    fast, plain = NearestNeighbours(rows).search(queries), FlatSearch(rows).search(queries)
    np.testing.assert_allclose(fast[0], plain[0], rtol=1e-6)
    differs = fast[1] != plain[1]  # only where two rows are equally near
    np.testing.assert_allclose(fast[0][differs], plain[0][differs], rtol=1e-6)


@pytest.mark.parametrize("kind", [FlatSearch, NearestNeighbours])
def test_every_search_refuses_the_same_input(kind: type[FlatSearch] | type[NearestNeighbours]) -> None:
    with pytest.raises(ValueError, match=r"rows: got float64"):
        kind(np.zeros((3, 2)))  # type: ignore[arg-type]
    search = kind(np.zeros((3, 2), dtype=np.float32))
    with pytest.raises(ValueError, match=r"k: got 4"):
        search.search(np.zeros((1, 2), dtype=np.float32), 4)
    with pytest.raises(ValueError, match=r"queries: got"):
        search.search(np.zeros((1, 3), dtype=np.float32))
    with pytest.raises(ValueError, match=r"not finite"):
        search.search(np.full((1, 2), np.nan, dtype=np.float32), 2)
