import hashlib
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcore.search import kernels, simd
from patchcore.search.bounds import Axes, Cells

Rows = NDArray[np.float32]


def cloud(count: int, depth: int, seed: int) -> Rows:
    """Points that vary most along some directions, as features do."""
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(count, depth)) * 0.95 ** np.arange(depth) + 3).astype(np.float32)


def search(rows: Rows, points: Rows, axes: Axes | None = None) -> tuple[Rows, NDArray[np.int64]]:
    squared, nearest = np.full(len(points), np.inf, dtype=np.float32), np.full(len(points), -1, dtype=np.int64)
    Cells(rows, axes or Axes.fit(rows)).lower(points, squared, nearest)
    return squared, nearest


def brute_force(rows: Rows, points: Rows) -> NDArray[np.float64]:
    """Return the squared distance of each point to its nearest row, in float64."""
    exact = rows.astype(np.float64)
    return np.array([((exact - point) ** 2).sum(axis=1).min() for point in points.astype(np.float64)])


DATA: dict[str, Callable[[Rows], Rows]] = {
    "as features": lambda rows: rows,
    "far from the origin": lambda rows: rows + np.float32(1000),
    "tiny": lambda rows: rows * np.float32(1e-12),
    "squares below float32": lambda rows: rows * np.float32(1e-22),
    "huge": lambda rows: rows * np.float32(1e12),
    "on a lattice": lambda rows: np.round(rows * 2),
    "all the same": lambda rows: np.broadcast_to(rows[:1], rows.shape).copy(),
    "heavy tails": lambda rows: rows**5,
    "one direction only": lambda rows: rows[:, :1] * np.ones((1, rows.shape[1]), dtype=np.float32),
}


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize(("count", "depth"), [(1, 1), (17, 3), (40, 16), (700, 50), (300, 333)])
def test_the_nearest_row_is_found_whatever_the_data(kind: str, count: int, depth: int) -> None:
    change = DATA[kind]
    rows, points = change(cloud(count, depth, 1)), change(cloud(150, depth, 2))
    points[::10] = rows[np.arange(15) % count]
    squared, nearest = search(rows, points)
    expected = brute_force(rows, points)
    to_found = ((points.astype(np.float64) - rows[nearest]) ** 2).sum(axis=1)
    # 1e-43 is some steps between float32 numbers near 0.
    np.testing.assert_allclose(to_found, expected, rtol=1e-5, atol=1e-43)
    np.testing.assert_allclose(squared, expected, rtol=1e-5, atol=1e-43)
    assert (squared[::10] == 0).all()


def test_near_ties_are_decided_by_the_directly_computed_distance() -> None:
    generator = np.random.default_rng(0)
    point = cloud(1, 64, 3)
    direction = generator.normal(size=(4000, 64))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    rows = (point + 5 * direction).astype(np.float32)  # all at distance 5 but for the rounding
    squared, nearest = search(rows, point)
    alone = np.array([search(rows[row : row + 1], point)[0][0] for row in range(0, 4000, 7)])
    assert squared[0] <= alone.min()
    assert search(rows[nearest], point)[0][0] == squared[0]


def test_of_equal_rows_the_lower_number_is_found() -> None:
    rows = np.random.default_rng(0).integers(0, 3, (500, 4)).astype(np.float32)
    points = np.random.default_rng(1).integers(0, 4, (300, 4)).astype(np.float32)
    expected = ((points[:, None] - rows) ** 2).sum(axis=2).argmin(axis=1)
    np.testing.assert_array_equal(search(rows, points)[1], expected)


def test_axes_of_other_data_cost_time_and_nothing_else() -> None:
    rows, points = cloud(400, 40, 0), cloud(200, 40, 1)
    there = Axes.fit(np.random.default_rng(9).normal(50, 3, (60, 40)).astype(np.float32))
    for found, expected in zip(search(rows, points, there), search(rows, points), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_rows_in_several_parts_give_what_they_give_together() -> None:
    rows, points = cloud(900, 40, 0), cloud(200, 40, 1)
    axes = Axes.fit(rows)
    squared, nearest = np.full(200, np.inf, dtype=np.float32), np.full(200, -1, dtype=np.int64)
    for start in (600, 0, 300):
        Cells(rows[start : start + 300], axes, first=start).lower(points, squared, nearest)
    together = search(rows, points, axes)
    np.testing.assert_array_equal(squared, together[0])
    np.testing.assert_array_equal(nearest, together[1])
    before = squared.copy()
    Cells(cloud(50, 40, 5) + np.float32(100), axes, first=900).lower(points, squared, nearest)  # far away
    np.testing.assert_array_equal(squared, before)


def test_neither_company_nor_threads_change_a_bit() -> None:
    rows, points = cloud(2000, 48, 0), cloud(400, 48, 1)
    cells = Cells(rows, Axes.fit(rows))

    def one(part: slice) -> tuple[Rows, NDArray[np.int64]]:
        count = len(points[part])
        squared, nearest = np.full(count, np.inf, dtype=np.float32), np.full(count, -1, dtype=np.int64)
        cells.lower(points[part], squared, nearest)
        return squared, nearest

    whole = one(slice(None))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(one, [slice(start, start + 13) for start in range(0, 400, 13)]))
    for found, expected in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(found), expected)


def test_most_of_the_work_is_spared_where_data_has_leading_directions() -> None:
    fall = np.float32(0.9) ** np.arange(100, dtype=np.float32)
    rows, points = cloud(4000, 100, 0) * fall, cloud(500, 100, 1) * fall
    work = Cells(rows, Axes.fit(rows)).lower(points, np.full(500, np.inf, dtype=np.float32), np.full(500, -1))
    assert (work[:3] * 16 <= 500 * 4000 * np.array([0.9, 0.5, 0.4])).all()
    assert 500 <= work[3] < 500 * 4000 / 100


def test_the_axes_stretch_nothing() -> None:
    for rows in (cloud(500, 80, 0), np.zeros((20, 60), dtype=np.float32), cloud(2, 70, 0), cloud(300, 2, 0)):
        axes = Axes.fit(rows)
        assert np.linalg.svd(axes.matrix.astype(np.float64), compute_uv=False).max() < 1
        assert axes.matrix.shape == (rows.shape[1], kernels.COORDINATES - 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_a_point_that_is_not_finite_is_refused_by_its_number(bad: float) -> None:
    points = cloud(200, 20, 0)
    points[133, 7] = bad  # the square of the last is not
    with pytest.raises(ValueError, match="not finite in row 133"):
        search(cloud(50, 20, 1), points)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_refused(bad: float) -> None:
    rows = cloud(200, 20, 0)
    axes = Axes.fit(rows)
    rows[133, 7] = bad
    with pytest.raises(ValueError, match="rows: got a value that is not finite"):
        Axes.fit(rows)
    with pytest.raises(ValueError, match="rows: got a value that is not finite"):
        Cells(rows, axes)


def test_changed_expressions_change_the_file_that_numba_looks_at() -> None:
    digest = hashlib.sha256(Path(simd.__file__).read_bytes()).hexdigest()
    assert digest.startswith(kernels.VECTORS), f'write VECTORS = "{digest[:16]}" into patchcore/search/kernels.py'


def test_compiled_code_is_kept_for_the_next_process() -> None:
    search(cloud(20, 20, 0), cloud(3, 20, 1))  # compiles, where nothing was kept
    program = (
        "import numpy as np; from patchcore.search import kernels; from patchcore.search.bounds import Axes, Cells\n"
        "rows = np.eye(20, dtype=np.float32); cells = Cells(rows, Axes.fit(rows))\n"
        "cells.lower(rows, np.full(20, np.inf, dtype=np.float32), np.full(20, -1))\n"
        "print(sum(kernels.lower.stats.cache_hits.values()), sum(kernels.lower.stats.cache_misses.values()))"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["1", "0"]
