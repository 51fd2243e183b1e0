import numpy as np
import pytest
from numpy.typing import NDArray

from patchcore.search.index import NearestNeighbours


def cloud(count: int, depth: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(1.0, 2.0, (count, depth)).astype(np.float32)


def brute_force(queries: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
    difference = queries[:, None].astype(np.float64) - rows[None].astype(np.float64)  # (Q, M, D)
    return np.asarray(np.linalg.norm(difference, axis=2))


@pytest.mark.parametrize(
    ("queries", "rows", "depth", "k"), [(1, 1, 1, 1), (30, 9, 3, 9), (500, 200, 152, 1), (64, 300, 40, 5)]
)
def test_it_agrees_with_brute_force(queries: int, rows: int, depth: int, k: int) -> None:
    asked, bank = cloud(queries, depth, 1), cloud(rows, depth, 2)
    distances, found = NearestNeighbours(bank).search(asked, k)
    every = brute_force(asked, bank)
    assert distances.dtype == np.float32
    assert distances.shape == found.shape == (queries, k)
    # Another row may be found where two are as near: its distance is what must agree.
    np.testing.assert_allclose(np.take_along_axis(every, found, 1), np.sort(every, axis=1)[:, :k], rtol=1e-6)
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :k], rtol=1e-6)
    assert all(len(set(row)) == k for row in found.tolist())


def test_ties_are_true_neighbours() -> None:
    bank = np.random.default_rng(0).integers(0, 3, (80, 3)).astype(np.float32)  # many equal rows
    asked = np.random.default_rng(1).integers(0, 4, (90, 3)).astype(np.float32)
    distances, found = NearestNeighbours(bank).search(asked, 6)
    every = brute_force(asked, bank)
    np.testing.assert_allclose(np.take_along_axis(every, found, 1), np.sort(every, axis=1)[:, :6], rtol=1e-6)
    equal = np.diff(distances, axis=1) == 0
    assert equal.any()
    assert (np.diff(found, axis=1)[equal] > 0).all()  # the lower number first


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_row_of_the_bank_is_at_distance_0_exactly(scale: float) -> None:
    bank = cloud(3000, 152, 0) * np.float32(scale)  # so many that faiss's own distances are rounded
    distances, found = NearestNeighbours(bank).search(bank[::-1].copy(), 2)
    np.testing.assert_array_equal(distances[:, 0], 0)
    np.testing.assert_array_equal(found[:, 0], np.arange(3000)[::-1])
    assert (distances[:, 1] > 0).all()


def test_a_query_alone_gets_what_it_gets_among_others() -> None:
    bank, asked = cloud(200, 152, 0), cloud(100, 152, 1)
    index = NearestNeighbours(bank)
    together = index.search(asked)
    alone = [index.search(asked[row : row + 1]) for row in range(100)]
    np.testing.assert_array_equal(np.concatenate([distances for distances, _ in alone]), together[0])
    np.testing.assert_array_equal(np.concatenate([found for _, found in alone]), together[1])


def test_one_neighbour_is_the_first_of_several() -> None:
    bank, asked = cloud(700, 152, 0), cloud(100, 152, 1)
    index = NearestNeighbours(bank)
    one, several = index.search(asked), index.search(asked, 4)
    np.testing.assert_allclose(one[0], several[0][:, :1], rtol=1e-6)
    np.testing.assert_array_equal(one[1], several[1][:, :1])


def test_queries_need_not_stand_side_by_side_in_memory() -> None:
    index, asked = NearestNeighbours(cloud(90, 20, 0)), cloud(60, 20, 1)
    (distances, found), backwards = index.search(asked), index.search(asked[::-1])
    np.testing.assert_array_equal(backwards[0][::-1], distances)
    np.testing.assert_array_equal(backwards[1][::-1], found)


@pytest.mark.parametrize("rows", [cloud(3, 2, 0)[0], cloud(3, 2, 0).astype(np.float64), cloud(3, 2, 0)[:0]])
def test_rows_of_another_shape_or_type_are_refused(rows: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="rows: got"):
        NearestNeighbours(rows)


@pytest.mark.parametrize("k", [0, 4])
def test_a_k_that_cannot_be_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k: got {k}, expected 1 to 3"):
        NearestNeighbours(cloud(3, 2, 0)).search(cloud(1, 2, 0), k)


@pytest.mark.parametrize("queries", [cloud(3, 3, 0), cloud(3, 2, 0).astype(np.float64), cloud(3, 2, 0)[0]])
def test_queries_of_another_shape_or_type_are_refused(queries: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="queries: got"):
        NearestNeighbours(cloud(3, 2, 0)).search(queries)


@pytest.mark.parametrize("count", [2, 100])
@pytest.mark.parametrize("k", [1, 3])
def test_a_query_that_is_not_a_number_is_refused_not_called_normal(count: int, k: int) -> None:
    queries = cloud(count, 2, 0)
    queries[1, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        NearestNeighbours(cloud(30, 2, 0)).search(queries, k)
