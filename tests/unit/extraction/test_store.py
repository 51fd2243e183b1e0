import errno
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from patchcore._util.files import sha256_of
from patchcore.errors import Fault, Refused, UnreadableImage
from patchcore.extraction.extractor import Extractor
from patchcore.extraction.store import FeatureStore, Kept
from patchcore.images.decoding import load_rgb

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


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name.startswith(".")]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for some of the features, where mounting one is allowed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a file system is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(
    small_disk: Path, full: Path, extractor: Extractor, images: dict[str, Path]
) -> None:
    store = FeatureStore(small_disk, extractor)
    with pytest.raises(Fault, match="No space left on device") as caught:
        store.ensure(images, lambda _: None)
    assert re.search(r"features \S+/[0-9a-f]{64}\.npy cannot be written", str(caught.value))
    assert "expected room for 87680 bytes" in str(caught.value)  # 128 + 12 x 12 x 152 x 4
    assert leftovers(small_disk) == []
    kept = [sha256 for sha256 in images if sha256 not in store.missing(images)]
    assert 0 < len(kept) < 9
    for sha256 in kept:
        np.testing.assert_array_equal(store.load(sha256), FeatureStore(full, extractor).load(sha256))


_LIMITED = """
import resource, sys
from pathlib import Path
from patchcore._util.files import write_bytes
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_bytes(Path(sys.argv[1]), bytes(2000))
except OSError as error:
    print(error.strerror)
"""


def test_a_file_that_may_not_grow_is_not_left_half_written(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    command = [sys.executable, "-c", _LIMITED, str(tmp_path / "file")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == os.strerror(errno.EFBIG)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_a_writer_at_work_is_not(
    store: FeatureStore, images: dict[str, Path]
) -> None:
    gone = list(images)[3]
    path = store._path(gone)
    path.unlink()
    abandoned, fresh = (path.parent / f".{path.name}.{end}" for end in ("abcd", "efgh"))
    for file in (abandoned, fresh):
        file.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    assert store.ensure(images, lambda _: None) == 1
    assert fresh.exists()
    assert not abandoned.exists()
    assert path.is_file()


def test_float16_has_a_folder_of_its_own_and_is_float32_when_loaded(
    store: FeatureStore, extractor: Extractor, images: dict[str, Path], tmp_path: Path
) -> None:
    half = FeatureStore(tmp_path / "store", extractor, "float16")
    assert half.missing(images) == list(images)  # what is there is float32
    assert half.ensure(images, lambda _: None) == 9
    for sha256 in images:
        rounded, original = half.load(sha256), store.load(sha256)
        assert rounded.dtype == np.float32
        np.testing.assert_array_equal(rounded, original.astype(np.float16).astype(np.float32))
        assert half._path(sha256).stat().st_size < 0.51 * store._path(sha256).stat().st_size
        assert half.digest(sha256) == hashlib.sha256(rounded.tobytes()).hexdigest() != store.digest(sha256)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_view_of_the_patches_holds_what_is_loaded(
    extractor: Extractor, images: dict[str, Path], tmp_path: Path, dtype: Kept
) -> None:
    store, digests = FeatureStore(tmp_path, extractor, dtype), list(images)[2:7]
    store.ensure(images, lambda _: None)
    view, loaded = store.patches(digests), store.load_many(digests)
    assert view.grid == (5, 12, 12)
    np.testing.assert_array_equal(np.concatenate(list(view.blocks())), loaded.reshape(-1, 152))
    np.testing.assert_array_equal(view.rows(np.array([700, 3])), loaded.reshape(-1, 152)[[700, 3]])
