import os
import shutil
from pathlib import Path

import pytest

from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import scan
from patchcore.errors import Fault
from patchcore.extraction.extractor import Extractor
from patchcore.extraction.store import FeatureStore
from patchcore.steps.feature_digests import digests_of


@pytest.fixture
def store(built_category: Workspace, extractor: Extractor, tmp_path: Path) -> FeatureStore:
    folder = shutil.copytree(built_category.feature_store, tmp_path / "features")
    return FeatureStore(folder, extractor)


@pytest.fixture
def images(built_category: Workspace) -> list[str]:
    return [entry.sha256 for entry in scan(built_category, "part").normals[:4]]


def test_the_digests_are_those_of_the_store(store: FeatureStore, images: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        assert digests_of(tmp_path / "cache", store, images) == {image: store.digest(image) for image in images}


def test_a_file_is_read_again_only_when_it_was_written_since(
    store: FeatureStore, images: list[str], tmp_path: Path
) -> None:
    before = digests_of(tmp_path / "cache", store, images)
    path = store._path(images[0])
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # nobody can tell
    assert digests_of(tmp_path / "cache", store, images) == before
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    after = digests_of(tmp_path / "cache", store, images)
    assert after == {**before, images[0]: store.digest(images[0])}
    assert after != before


def test_a_new_image_joins_the_known_ones(store: FeatureStore, images: list[str], tmp_path: Path) -> None:
    digests_of(tmp_path / "cache", store, images[:2])
    written = (tmp_path / "cache").stat().st_mtime_ns
    assert digests_of(tmp_path / "cache", store, images[:2]).keys() == set(images[:2])
    assert (tmp_path / "cache").stat().st_mtime_ns == written  # nothing new: nothing written
    assert digests_of(tmp_path / "cache", store, images).keys() == set(images)


def test_missing_features_are_a_fault(store: FeatureStore, images: list[str], tmp_path: Path) -> None:
    store._path(images[1]).unlink()
    with pytest.raises(Fault, match="missing"):
        digests_of(tmp_path / "cache", store, images)
