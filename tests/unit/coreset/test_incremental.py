"""Growing a cover: its certificate against brute force, on features of drawn parts and on points in the plane."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from patchcore.bank.memory_bank import MemoryBank
from patchcore.config.workspace import Workspace
from patchcore.coreset import incremental, kcenter
from patchcore.coreset.incremental import Cover
from patchcore.dataset.manifest import read_manifest
from patchcore.extraction.store import FeatureStore

Features = NDArray[np.float32]


@pytest.fixture(scope="module")
def features(built_category: Workspace) -> Features:
    """Of 20 normal parts, 5 more, and 5 with a scratch: (30, 12, 12, 152)."""
    manifest = read_manifest(built_category.manifest("part"))
    store = FeatureStore(built_category.feature_store, MemoryBank.load(built_category.bank("part")).extractor)
    normals, evaluation = ([entry.sha256 for entry in part] for part in (manifest.normals, manifest.evaluation))
    return store.load_many([*normals, *evaluation])


def first_cover(images: Features, size: int) -> Cover:
    patches = images.reshape(-1, images.shape[-1])
    chosen = kcenter.select(patches, size, seed=0)
    return incremental.begin(patches[chosen.indices], chosen, images.shape[:3])


def blocks(images: Features, size: int = 4) -> list[Features]:
    return [images[start : start + size] for start in range(0, len(images), size)]


def farthest(images: Features, rows: Features) -> float:
    """The covering radius, by brute force in float64."""
    patches = images.reshape(-1, images.shape[-1]).astype(np.float64)
    return float(cdist(patches, rows.astype(np.float64)).min(axis=1).max())


def assert_certified(cover: Cover, arrived: Features) -> None:
    assert farthest(arrived, cover.rows) <= cover.radius * (1 + 3e-6)
    assert (cover.images, cover.patches) == (len(arrived), arrived[..., 0].size)
    assert len(cover.rows) == len(cover.sources) == len(cover.radii)
    for row, (image, y, x) in zip(cover.rows, cover.sources, strict=True):
        np.testing.assert_array_equal(row, arrived[image, y, x])


def test_every_patch_of_old_and_new_images_lies_within_the_radius_of_a_row(features: Features) -> None:
    first = first_cover(features[:12], 100)
    assert_certified(first, features[:12])
    second = incremental.grow(first, blocks(features[12:20]), limit=1000)
    third = incremental.grow(second, blocks(features[20:]), limit=1000)
    for cover, count in ((second, 20), (third, 30)):
        assert_certified(cover, features[:count])
        assert cover.radius == first.radius
    np.testing.assert_array_equal(third.rows[:100], first.rows)
    assert (third.arrivals, third.merged, third.added) == (3, 0, len(third.rows) - 100)
    assert 0 < second.added < third.added


def test_a_row_is_added_only_where_a_patch_is_not_covered(features: Features) -> None:
    first = first_cover(features[:12], 100)
    grown = incremental.grow(first, blocks(features[12:]), limit=1000)
    rows = grown.rows.astype(np.float64)
    for number in range(100, len(rows)):
        assert cdist(rows[number : number + 1], rows[:number]).min() > first.radius


def test_the_radius_after_each_added_row_is_what_the_group_still_needs(features: Features) -> None:
    first = first_cover(features[:12], 100)
    grown = incremental.grow(first, blocks(features[25:]), limit=1000)
    assert grown.added > 2
    for number in range(100, len(grown.rows)):
        needed = max(first.radius, farthest(features[25:], grown.rows[: number + 1]))
        assert grown.radii[number] == pytest.approx(needed, rel=1e-6)


def test_images_that_are_covered_already_add_nothing(features: Features) -> None:
    first = first_cover(features[:12], 100)
    grown = incremental.grow(first, blocks(features[:12]), limit=1000)
    assert (grown.added, grown.radius, grown.images, grown.arrivals) == (0, first.radius, 24, 2)
    np.testing.assert_array_equal(grown.rows, first.rows)


def test_images_of_another_kind_are_covered_too(features: Features) -> None:
    first = first_cover(features[:12], 100)
    strange = features[12:] + np.float32(5)
    grown = incremental.grow(first, blocks(strange), limit=10_000)
    assert grown.radius == first.radius
    assert_certified(grown, np.concatenate([features[:12], strange]))


def test_a_limit_on_rows_leaves_a_larger_radius_that_holds(features: Features) -> None:
    first = first_cover(features[:12], 100)
    strange = features[12:20] * np.float32(2)
    grown = incremental.grow(first, blocks(strange), limit=5)
    assert grown.added == 5
    assert grown.radius > first.radius
    arrived = np.concatenate([features[:12], strange])
    assert grown.radius == pytest.approx(farthest(arrived, grown.rows), rel=1e-6)
    assert_certified(grown, arrived)


def test_the_sizes_of_the_blocks_change_nothing(features: Features) -> None:
    first = first_cover(features[:12], 100)
    one, many = (incremental.grow(first, blocks(features[12:], size), limit=1000) for size in (1, 7))
    for name in ("rows", "sources", "radii"):
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name))


def test_after_a_merge_the_sum_of_the_radii_holds_for_all_patches(features: Features) -> None:
    first = first_cover(features[:12], 100)
    grown = incremental.grow(first, blocks(features[12:]), limit=1000)
    merged = incremental.merge(grown, 60, seed=0)
    assert (len(merged.rows), merged.merged) == (60, len(grown.rows) - 60)
    assert len(merged.rows) == 100 + merged.added - merged.merged
    assert_certified(merged, features)
    assert merged.radius == pytest.approx(grown.radius + farthest(grown.rows[:, None, None], merged.rows), rel=1e-6)
    for number in (1, 10, 59):  # every prefix is a cover too
        assert farthest(features, merged.rows[: number + 1]) <= merged.radii[number] * (1 + 3e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_certificate_survives_any_history(seed: int) -> None:
    generator = np.random.default_rng(seed)
    arrived = generator.normal(size=(20, 4, 4, 2)).astype(np.float32)
    cover = first_cover(arrived, 20)
    for _ in range(12):
        images = int(generator.integers(1, 12))
        centre, spread = generator.normal(scale=4, size=2), generator.uniform(0.1, 2)
        new = (centre + generator.normal(scale=spread, size=(images, 4, 4, 2))).astype(np.float32)
        cover = incremental.grow(cover, blocks(new, 3), limit=int(generator.integers(1, 40)))
        arrived = np.concatenate([arrived, new])
        if len(cover.rows) > 30:
            cover = incremental.merge(cover, 30, seed=seed)
        assert_certified(cover, arrived)
    assert cover.arrivals == 13
    assert cover.merged > 0


def test_a_patch_that_is_not_finite_is_refused(features: Features) -> None:
    first = first_cover(features[:12], 100)
    broken = features[12:14].copy()
    broken[1, 3, 4, 5] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        incremental.grow(first, [broken], limit=10)
