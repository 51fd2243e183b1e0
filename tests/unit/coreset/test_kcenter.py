import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from patchcore.coreset import kcenter, sources
from patchcore.coreset import pool as pools
from patchcore.search import simd

SHAPES = [(1, 1, 1), (40, 1, 12), (300, 8, 30), (1000, 3, 100), (700, 64, 70), (257, 152, 257)]


def cloud(patches: int, depth: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(2.0, 1.5, (patches, depth)).astype(np.float32)


def naive_greedy(features: NDArray[np.float32], first: int, size: int) -> tuple[list[int], NDArray[np.float64]]:
    """The plain algorithm in float64: M picks and the radius after each."""
    rows = features.astype(np.float64)
    picks, radii = [first], []
    distance = np.linalg.norm(rows - rows[first], axis=1)
    while True:
        radii.append(distance.max())
        if len(picks) == size:
            return picks, np.array(radii)
        picks.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(rows - rows[picks[-1]], axis=1))


def check_greedy(features: NDArray[np.float32], chosen: kcenter.Coreset, tolerance: float = 1e-6) -> None:
    """Replay the picks: each must be as far from those before it as the farthest patch is; so may be another."""
    rows = features.astype(np.float64)
    distance = np.full(len(rows), np.inf)
    scale = np.abs(rows - rows.mean(axis=0)).max()
    for number, (pick, radius) in enumerate(zip(chosen.indices, chosen.radii, strict=True)):
        if number:
            assert distance[pick] == pytest.approx(distance.max(), rel=tolerance, abs=tolerance * scale)
        distance = np.minimum(distance, np.linalg.norm(rows - rows[pick], axis=1))
        assert radius == pytest.approx(distance.max(), rel=tolerance, abs=tolerance * scale)
    assert len(set(chosen.indices.tolist())) == len(chosen.indices)
    assert (np.diff(chosen.radii) <= 0).all()


@pytest.mark.parametrize("pool", [1, 7, 64, 4096])
@pytest.mark.parametrize(("patches", "depth", "size"), SHAPES)
def test_the_picks_are_those_of_the_plain_loop(
    patches: int, depth: int, size: int, pool: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kcenter, "_POOL", pool)
    features = cloud(patches, depth, seed=patches)
    chosen = kcenter.select(features, size, seed=3)
    check_greedy(features, chosen)
    picks, radii = naive_greedy(features, int(chosen.indices[0]), size)
    assert chosen.indices.tolist() == picks  # a cloud at random has no ties
    np.testing.assert_allclose(chosen.radii, radii, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_many_small_passes_over_ties(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kcenter, "_POOL", 16)
    monkeypatch.setattr(sources, "_BLOCK", 100)
    grid = np.random.default_rng(seed).integers(0, 5, (600, 3)).astype(np.float32)  # at most 125 different patches
    chosen = kcenter.select(grid, 90, seed=seed)
    assert len(chosen.indices) == 90
    check_greedy(grid, chosen)


def test_every_prefix_covers_within_its_radius() -> None:
    features = cloud(500, 16)
    chosen = kcenter.select(features, 60, seed=1)
    for count in (1, 2, 10, 60):
        rows = features[chosen.indices[:count]]
        nearest = np.linalg.norm(features[:, None] - rows[None], axis=2).min(axis=1)
        assert nearest.max() == pytest.approx(chosen.radii[count - 1], rel=1e-5)
    shorter = kcenter.select(features, 10, seed=1)
    assert shorter.indices.tolist() == chosen.indices[:10].tolist()
    np.testing.assert_allclose(shorter.radii, chosen.radii[:10], rtol=1e-12)


@pytest.mark.parametrize("projection", [None, 2])
@pytest.mark.parametrize("pool", [8, 4096])
def test_copies_are_picked_once(pool: int, projection: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kcenter, "_POOL", pool)
    features = np.repeat(cloud(9, 152, seed=7) * np.float32(3.3), 30, axis=0)
    chosen = kcenter.select(features, 100, seed=7, projection_dim=projection)
    assert sorted(chosen.indices // 30) == list(range(9))
    assert chosen.radii[-1] == 0


def test_no_row_is_picked_twice_where_rounding_hides_the_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kcenter, "_POOL", 16)
    noise = np.random.default_rng(0).normal(0, 1e-4, (200, 152))
    clusters = (np.repeat(cloud(10, 152) * 3, 20, axis=0) + noise).astype(np.float32)
    chosen = kcenter.select(clusters, 200, seed=0)
    assert len(set(chosen.indices.tolist())) == len(chosen.indices)
    assert (np.diff(chosen.radii) <= 0).all()
    assert chosen.radii[9] < 0.01 < chosen.radii[8]
    assert {int(pick) // 20 for pick in chosen.indices[:10]} == set(range(10))


def test_all_patches_may_be_chosen() -> None:
    features = cloud(120, 5)
    chosen = kcenter.select(features, 120, seed=0)
    assert sorted(chosen.indices) == list(range(120))
    assert chosen.radii[-1] == 0


def test_a_memory_mapped_file_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = cloud(900, 12)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r", allow_pickle=False)
    monkeypatch.setattr(kcenter, "_POOL", 50)
    in_memory, on_disk = kcenter.select(features, 80, seed=2), kcenter.select(mapped, 80, seed=2)
    np.testing.assert_array_equal(in_memory.indices, on_disk.indices)
    np.testing.assert_array_equal(in_memory.radii, on_disk.radii)


def test_the_seed_decides_the_first_pick_and_nothing_else_does() -> None:
    features = cloud(400, 6)
    firsts = {int(kcenter.select(features, 1, seed=seed).indices[0]) for seed in range(8)}
    assert len(firsts) > 4
    again = [kcenter.select(features, 40, seed=5) for _ in range(2)]
    np.testing.assert_array_equal(again[0].indices, again[1].indices)
    np.testing.assert_array_equal(again[0].radii, again[1].radii)


class Scattered:
    """A source of patches that yields blocks of any length, and remembers the most rows it was asked for."""

    def __init__(self, features: NDArray[np.float32], lengths: list[int]) -> None:
        self.shape = features.shape[0], features.shape[1]
        self.most, self.readings = 0, 0
        self._features = features
        self._edges = np.cumsum([0, *lengths])
        assert self._edges[-1] == len(features)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        self.readings += 1
        for start, stop in pairwise(self._edges):
            yield self._features[start:stop].copy()

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        self.most = max(self.most, len(indices))
        return self._features[indices]


def test_a_source_of_blocks_gives_the_same_and_is_never_read_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kcenter, "_POOL", 64)
    monkeypatch.setattr(kcenter, "_SAMPLE", 100)
    features = cloud(3000, 20)
    source, told = Scattered(features, [1, 999, 7, 1500, 493]), list[int]()
    chosen = kcenter.select(source, 200, seed=4, progress=told.append)
    expected = kcenter.select(features, 200, seed=4)
    np.testing.assert_array_equal(chosen.indices, expected.indices)
    np.testing.assert_array_equal(chosen.radii, expected.radii)
    assert source.most <= 100
    assert source.readings == len(told) < 60  # a pass each; the plain loop would make 200


def real_like(count: int, depth: int, seed: int = 0) -> NDArray[np.float32]:
    """Patches as networks make them: not negative, a few strong directions, many near copies and some far away."""
    generator = np.random.default_rng(seed)
    parts = generator.gamma(2, 1, (12, depth)) * generator.gamma(1, 1, (count, 12, 1))
    noise = generator.normal(0, 0.2, (count, depth))
    return np.asarray(np.maximum(parts.sum(axis=1) / 4 + noise, 0), dtype=np.float32)


@pytest.mark.parametrize(("scale", "offset"), [(1, 0), (1e-12, 0), (1e12, 0), (1, 1e4), (1e-3, 1e3)])
def test_features_of_any_size_are_told_apart_as_float64_does(
    scale: float, offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kcenter, "_POOL", 500)
    features = (real_like(4000, 60) * scale + offset).astype(np.float32)
    chosen = kcenter.select(features, 100, seed=1)
    check_greedy(features, chosen)
    picks, radii = naive_greedy(features, int(chosen.indices[0]), 100)
    if offset == 0:  # with an offset float32 leaves ties
        assert chosen.indices.tolist() == picks
    np.testing.assert_allclose(chosen.radii, radii, rtol=1e-6)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_changes_no_bit(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    features = real_like(12_000, 152)
    expected = kcenter.select(features, 150, seed=0)
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    chosen = kcenter.select(features, 150, seed=0)
    np.testing.assert_array_equal(chosen.indices, expected.indices)
    np.testing.assert_array_equal(chosen.radii, expected.radii)


_OTHER_PROCESS = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from tests.unit.coreset.test_kcenter import digest, real_like
print(digest(real_like(12_000, 152)))
"""


def digest(features: NDArray[np.float32]) -> str:
    chosen = kcenter.select(features, 150, seed=0)
    return hashlib.sha256(chosen.indices.tobytes() + chosen.radii.tobytes()).hexdigest()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux only")
def test_a_process_of_one_core_and_one_thread_gives_the_same_bytes_as_four_threads() -> None:
    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _OTHER_PROCESS], env={**os.environ, **one}, check=True, capture_output=True, text=True
    )
    with threadpool_limits(4):
        assert done.stdout.split() == [digest(real_like(12_000, 152))]


def test_a_projection_measures_in_fewer_dimensions_and_still_covers() -> None:
    features = cloud(500, 100)
    chosen = kcenter.select(features, 50, seed=0, projection_dim=40)
    matrix = np.random.default_rng(0)
    first = int(matrix.integers(500))
    assert chosen.indices[0] == first
    projected = features @ (matrix.standard_normal((100, 40)) / np.sqrt(40)).astype(np.float32)
    check_greedy(projected.astype(np.float32), chosen, tolerance=1e-5)
    plain = kcenter.select(features, 50, seed=0)
    assert chosen.radii[-1] == pytest.approx(plain.radii[-1], rel=0.3)  # lengths are kept on average


def test_progress_is_told_up_to_the_last_pick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kcenter, "_POOL", 10)
    told: list[int] = []
    kcenter.select(cloud(200, 4), 30, seed=0, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 30
    assert len(told) > 2


@pytest.mark.parametrize("size", [0, -1, 11])
def test_a_size_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size: got {size}, expected 1 to 10"):
        kcenter.select(cloud(10, 2), size, seed=0)


@pytest.mark.parametrize("features", [cloud(10, 2)[0], cloud(10, 2).astype(np.float64), cloud(10, 2)[:0]])
def test_features_of_another_shape_or_type_are_refused(features: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="features: got"):
        kcenter.select(features, 1, seed=0)


@pytest.mark.filterwarnings("ignore:invalid value encountered")  # infinity minus infinity
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 57, 99])
def test_a_value_that_is_not_finite_is_refused(value: float, row: int) -> None:
    features = cloud(100, 4)
    features[row, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        kcenter.select(features, 5, seed=0)


def test_a_changed_vector_expression_changes_the_file_that_uses_it() -> None:
    """Numba looks at the file of a function alone to see whether what it compiled is old."""
    expressions = hashlib.sha256(Path(simd.__file__).read_bytes()).hexdigest()
    assert expressions.startswith(pools.VECTORS), f'write VECTORS = "{expressions[:16]}" into patchcore/coreset/pool.py'
