from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcore import coreset

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


def check_greedy(features: NDArray[np.float32], chosen: coreset.Coreset, tolerance: float = 1e-6) -> None:
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
    monkeypatch.setattr(coreset, "_POOL", pool)
    features = cloud(patches, depth, seed=patches)
    chosen = coreset.select(features, size, seed=3)
    check_greedy(features, chosen)
    picks, radii = naive_greedy(features, int(chosen.indices[0]), size)
    assert chosen.indices.tolist() == picks  # a cloud at random has no ties
    np.testing.assert_allclose(chosen.radii, radii, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
def test_many_small_passes_over_ties(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreset, "_POOL", 16)
    monkeypatch.setattr(coreset, "_BLOCK_VALUES", 512)
    grid = np.random.default_rng(seed).integers(0, 5, (600, 3)).astype(np.float32)  # at most 125 different patches
    chosen = coreset.select(grid, 90, seed=seed)
    assert len(chosen.indices) == 90
    check_greedy(grid, chosen)


def test_every_prefix_covers_within_its_radius() -> None:
    features = cloud(500, 16)
    chosen = coreset.select(features, 60, seed=1)
    for count in (1, 2, 10, 60):
        rows = features[chosen.indices[:count]]
        nearest = np.linalg.norm(features[:, None] - rows[None], axis=2).min(axis=1)
        assert nearest.max() == pytest.approx(chosen.radii[count - 1], rel=1e-5)
    shorter = coreset.select(features, 10, seed=1)
    assert shorter.indices.tolist() == chosen.indices[:10].tolist()
    np.testing.assert_allclose(shorter.radii, chosen.radii[:10], rtol=1e-12)


@pytest.mark.parametrize("projection", [None, 2])
@pytest.mark.parametrize("pool", [8, 4096])
def test_copies_are_picked_once(pool: int, projection: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreset, "_POOL", pool)
    features = np.repeat(cloud(9, 152, seed=7) * np.float32(3.3), 30, axis=0)
    chosen = coreset.select(features, 100, seed=7, projection_dim=projection)
    assert sorted(chosen.indices // 30) == list(range(9))
    assert chosen.radii[-1] == 0


def test_no_row_is_picked_twice_where_rounding_hides_the_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreset, "_POOL", 16)
    noise = np.random.default_rng(0).normal(0, 1e-4, (200, 152))
    clusters = (np.repeat(cloud(10, 152) * 3, 20, axis=0) + noise).astype(np.float32)
    chosen = coreset.select(clusters, 200, seed=0)
    assert len(set(chosen.indices.tolist())) == len(chosen.indices)
    assert (np.diff(chosen.radii) <= 0).all()
    assert chosen.radii[9] < 0.01 < chosen.radii[8]
    assert {int(pick) // 20 for pick in chosen.indices[:10]} == set(range(10))


def test_all_patches_may_be_chosen() -> None:
    features = cloud(120, 5)
    chosen = coreset.select(features, 120, seed=0)
    assert sorted(chosen.indices) == list(range(120))
    assert chosen.radii[-1] == 0


def test_a_memory_mapped_file_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = cloud(900, 12)
    np.save(tmp_path / "features.npy", features)
    mapped = np.load(tmp_path / "features.npy", mmap_mode="r", allow_pickle=False)
    monkeypatch.setattr(coreset, "_POOL", 50)
    in_memory, on_disk = coreset.select(features, 80, seed=2), coreset.select(mapped, 80, seed=2)
    np.testing.assert_array_equal(in_memory.indices, on_disk.indices)
    np.testing.assert_array_equal(in_memory.radii, on_disk.radii)


def test_the_seed_decides_the_first_pick_and_nothing_else_does() -> None:
    features = cloud(400, 6)
    firsts = {int(coreset.select(features, 1, seed=seed).indices[0]) for seed in range(8)}
    assert len(firsts) > 4
    again = [coreset.select(features, 40, seed=5) for _ in range(2)]
    np.testing.assert_array_equal(again[0].indices, again[1].indices)
    np.testing.assert_array_equal(again[0].radii, again[1].radii)


def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(coreset, "_POOL", 200)
    features, before = cloud(3000, 152), torch.get_num_threads()
    chosen = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            chosen.append(coreset.select(features, 150, seed=0))
    finally:
        torch.set_num_threads(before)
    for other in chosen[1:]:
        np.testing.assert_array_equal(other.indices, chosen[0].indices)
        np.testing.assert_array_equal(other.radii, chosen[0].radii)


def test_a_projection_measures_in_fewer_dimensions_and_still_covers() -> None:
    features = cloud(500, 100)
    chosen = coreset.select(features, 50, seed=0, projection_dim=40)
    matrix = np.random.default_rng(0)
    first = int(matrix.integers(500))
    assert chosen.indices[0] == first
    projected = features @ (matrix.standard_normal((100, 40)) / np.sqrt(40)).astype(np.float32)
    check_greedy(projected.astype(np.float32), chosen, tolerance=1e-5)
    plain = coreset.select(features, 50, seed=0)
    assert chosen.radii[-1] == pytest.approx(plain.radii[-1], rel=0.3)  # lengths are kept on average


def test_progress_is_told_up_to_the_last_pick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreset, "_POOL", 10)
    told: list[int] = []
    coreset.select(cloud(200, 4), 30, seed=0, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 30
    assert len(told) > 2


@pytest.mark.parametrize("size", [0, -1, 11])
def test_a_size_that_cannot_be_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"size: got {size}, expected 1 to 10"):
        coreset.select(cloud(10, 2), size, seed=0)


@pytest.mark.parametrize("features", [cloud(10, 2)[0], cloud(10, 2).astype(np.float64), cloud(10, 2)[:0]])
def test_features_of_another_shape_or_type_are_refused(features: NDArray[np.float32]) -> None:
    with pytest.raises(ValueError, match="features: got"):
        coreset.select(features, 1, seed=0)


@pytest.mark.filterwarnings("ignore:invalid value encountered")  # infinity minus infinity
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 57, 99])
def test_a_value_that_is_not_finite_is_refused(value: float, row: int) -> None:
    features = cloud(100, 4)
    features[row, 1] = value
    with pytest.raises(ValueError, match="not finite"):
        coreset.select(features, 5, seed=0)
