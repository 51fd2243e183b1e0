import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from patchcore.errors import Fault, Refused
from patchcore.extractor import Extractor
from patchcore.feature_store import FeatureStore
from patchcore.files import sha256_of
from patchcore.images import UnreadableImage, load_rgb

Draw = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("images")
    for number in range(9):  # two batches of four, and one
        Image.fromarray(draw(number)).save(folder / f"{number}.png")
    return {sha256_of(path): path for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, extractor: Extractor, images: dict[str, Path]) -> Path:
    folder = tmp_path_factory.mktemp("store")
    told: list[int] = []
    assert FeatureStore(folder, extractor).ensure(images, told.append) == 9
    assert told == [4, 8, 9]
    return folder


@pytest.fixture
def store(full: Path, extractor: Extractor, tmp_path: Path) -> FeatureStore:
    return FeatureStore(Path(shutil.copytree(full, tmp_path / "store")), extractor)


def test_features_are_those_of_the_extractor(
    store: FeatureStore, extractor: Extractor, images: dict[str, Path]
) -> None:
    digests = list(images)
    features = store.load_many(digests)
    assert features.shape == (9, 12, 12, 152)
    assert features.dtype == np.float32
    for sha256, loaded in zip(digests, features, strict=True):
        np.testing.assert_array_equal(loaded, extractor.network(load_rgb(images[sha256], 96)[None])[0])
        np.testing.assert_array_equal(loaded, store.load(sha256))


def test_an_image_is_extracted_once(store: FeatureStore, images: dict[str, Path]) -> None:
    before = {path: path.stat().st_mtime_ns for path in store._folder.rglob("*.npy")}
    assert store.ensure({sha256: Path("nowhere") for sha256 in images}, lambda _: None) == 0
    assert {path: path.stat().st_mtime_ns for path in store._folder.rglob("*.npy")} == before


def test_only_new_images_are_read_and_give_the_same_bytes_alone(store: FeatureStore, images: dict[str, Path]) -> None:
    gone = list(images)[5]
    digest = store.digest(gone)
    store._path(gone).unlink()
    assert store.missing(images) == [gone]
    elsewhere = {sha256: path if sha256 == gone else Path("nowhere") for sha256, path in images.items()}
    assert store.ensure(elsewhere, lambda _: None) == 1
    assert store.digest(gone) == digest
    assert store.missing(images) == []


def test_the_bytes_are_the_same_run_after_run(
    store: FeatureStore, extractor: Extractor, images: dict[str, Path], tmp_path: Path
) -> None:
    again = FeatureStore(tmp_path / "again", extractor)
    again.ensure(dict(reversed(images.items())), lambda _: None)
    for sha256 in images:
        assert again._path(sha256).read_bytes() == store._path(sha256).read_bytes()


def test_another_extractor_has_features_of_its_own(full: Path, extractor: Extractor, images: dict[str, Path]) -> None:
    other = Extractor(extractor.config.model_copy(update={"pool": 5}), extractor._weights)
    assert FeatureStore(full, other).missing(images) == list(images)


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "pickle"])
def test_damaged_features_are_a_fault_that_names_the_file(
    store: FeatureStore, images: dict[str, Path], damage: str
) -> None:
    sha256 = next(iter(images))
    path = store._path(sha256)
    if damage == "missing":
        path.unlink()
    elif damage == "pickle":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(b"" if damage == "empty" else path.read_bytes()[:-100])
    with pytest.raises(Fault, match="cannot be read") as caught:
        store.load(sha256)
    assert str(path) in str(caught.value)


def test_an_unreadable_image_is_named_and_leaves_no_half_file(
    extractor: Extractor, images: dict[str, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(next(iter(images.values())).read_bytes()[:500])
    store = FeatureStore(tmp_path / "store", extractor)
    with pytest.raises(UnreadableImage, match=r"broken\.png") as caught:
        store.ensure(images | {"f" * 64: broken}, lambda _: None)
    assert isinstance(caught.value, Refused)
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert all(path.suffix == ".npy" and np.load(path).shape == (12, 12, 152) for path in files)


def test_a_full_disk_is_a_fault_and_leaves_no_half_file(
    extractor: Extractor, images: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    store = FeatureStore(tmp_path / "store", extractor)
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(Fault, match="No space left on device") as caught:
        store.ensure(images, lambda _: None)
    assert caught.value.exit_code == 1
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
