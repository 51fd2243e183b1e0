from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcore.coreset import kcenter
from patchcore.errors import Fault
from patchcore.extraction import stored_patches
from patchcore.extraction.stored_patches import StoredPatches

IMAGES = [f"image{number}" for number in range(11)]
GRID = (3, 5, 7)

Opened = Callable[..., StoredPatches]


@pytest.fixture(params=["float32", "float16"])
def features(request: pytest.FixtureRequest, tmp_path: Path) -> NDArray[np.float32]:
    """What the files hold, float32 (I, h, w, D); the order of the files is not that of their names."""
    made = np.random.default_rng(0).normal(size=(len(IMAGES), *GRID)).astype(request.param)
    for image, array in zip(IMAGES, made, strict=True):
        np.save(tmp_path / f"{image}.npy", array)
    return np.asarray(made, dtype=np.float32)


@pytest.fixture
def opened(request: pytest.FixtureRequest, tmp_path: Path, features: NDArray[np.float32]) -> Opened:
    dtype = np.load(tmp_path / "image0.npy").dtype

    def open_(images: list[str] = IMAGES, check: stored_patches.Check | None = None) -> StoredPatches:
        return StoredPatches(images, lambda image: tmp_path / f"{image}.npy", GRID, dtype, check)

    return open_


@pytest.mark.parametrize("at_least", [1, 16, 40, 10_000])
def test_blocks_are_all_patches_in_order(
    opened: Opened, features: NDArray[np.float32], at_least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_patches, "_BLOCK", at_least)
    patches = opened()
    assert patches.shape == (11 * 15, 7)
    assert patches.grid == (11, 3, 5)
    for _ in range(2):
        blocks = list(patches.blocks())
        assert all(block.dtype == np.float32 for block in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), features.reshape(-1, 7))
    assert {len(block) for block in blocks[:-1]} <= {-(-at_least // 15) * 15}


def test_rows_come_in_the_order_asked_for(opened: Opened, features: NDArray[np.float32]) -> None:
    wanted = np.random.default_rng(1).integers(0, 165, 60)
    np.testing.assert_array_equal(opened().rows(wanted), features.reshape(-1, 7)[wanted])
    assert opened().rows(np.array([], dtype=np.int64)).shape == (0, 7)


def test_other_images_in_another_order(opened: Opened, features: NDArray[np.float32]) -> None:
    patches = opened(["image7", "image2"])
    np.testing.assert_array_equal(np.concatenate(list(patches.blocks())), features[[7, 2]].reshape(-1, 7))
    np.testing.assert_array_equal(patches.rows(np.array([0, 15])), features[[7, 2], 0, 0])


def test_a_selection_is_that_of_the_array(
    opened: Opened, features: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kcenter, "_POOL", 20)
    monkeypatch.setattr(stored_patches, "_BLOCK", 30)
    stored = kcenter.select(opened(), 40, seed=3)
    in_memory = kcenter.select(features.reshape(-1, 7), 40, seed=3)
    np.testing.assert_array_equal(stored.indices, in_memory.indices)
    np.testing.assert_array_equal(stored.radii, in_memory.radii)


def test_each_image_is_checked_once_with_what_is_then_used(opened: Opened, features: NDArray[np.float32]) -> None:
    seen: list[tuple[str, float]] = []
    patches = opened(check=lambda image, array: seen.append((image, float(array.sum()))))
    for _ in range(2):
        list(patches.blocks())
    assert [image for image, _ in seen] == IMAGES
    np.testing.assert_allclose([total for _, total in seen], features.sum(axis=(1, 2, 3)), rtol=1e-4)


def test_a_check_that_fails_stops_the_selection(opened: Opened) -> None:
    def check(image: str, _: NDArray[np.float32]) -> None:
        if image == "image9":
            raise Fault("features", "other bytes", "these", "extract them again")

    with pytest.raises(Fault, match="other bytes"):
        kcenter.select(opened(check=check), 5, seed=0)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "longer", "another shape", "another type"])
def test_a_damaged_file_is_a_fault_that_names_it(opened: Opened, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "image4.npy"
    content, array = path.read_bytes(), np.load(path)
    if damage == "missing":
        path.unlink()
    elif damage == "another shape":
        np.save(path, array.reshape(5, 3, 7))
    elif damage == "another type":
        np.save(path, array.view(np.int32 if array.dtype == np.float32 else np.int16))
    else:
        path.write_bytes({"empty": b"", "truncated": content[:-1], "longer": content + b"x"}[damage])
    with pytest.raises(Fault, match=r"image4\.npy cannot be read"):
        list(opened().blocks())
    if damage in ("missing", "empty", "truncated"):
        with pytest.raises(Fault, match=r"image4\.npy cannot be read"):
            opened().rows(np.array([3, 4 * 15 + 14]))
