"""Banks that grow with their images, built by the build step: certificate, order, cache, bytes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from patchcore.bank import calibration
from patchcore.bank.memory_bank import MemoryBank
from patchcore.config.params import Params
from patchcore.config.workspace import Workspace
from patchcore.dataset.arrivals import record_arrivals
from patchcore.dataset.manifest import Manifest, scan, write_manifest
from patchcore.errors import Fault
from patchcore.extraction.extractor import Extractor
from patchcore.extraction.store import FeatureStore
from patchcore.steps import build, extract
from patchcore.steps.coreset_cache import cover_of
from patchcore.steps.indexed_features import IndexedFeatures
from tests.support.places import REPOSITORY

Draw = Callable[..., NDArray[np.uint8]]


def with_build(params: Params, **changes: object) -> Params:
    return params.model_copy(update={"build": params.build.model_copy(update=changes)})


def arrive(workspace: Workspace, params: Params) -> Manifest:
    """What ingest and the stages before build do with the images that are there."""
    manifest = scan(workspace, "part")
    write_manifest(workspace.manifest("part"), manifest)
    extract.run(workspace, "part", params)
    record_arrivals(workspace.arrivals("part"), [entry.sha256 for entry in manifest.normals], params)
    return manifest


def built(workspace: Workspace, params: Params) -> MemoryBank:
    build.run(workspace, "part", params)
    return MemoryBank.load(workspace.bank("part"))


def add(workspace: Workspace, draw: Draw, seeds: range, gain: float = 1.0) -> None:
    for seed in seeds:
        levels = np.clip(draw(seed) * gain, 0, 255).astype(np.uint8)
        Image.fromarray(levels).save(workspace.good_normals("part") / f"{seed}.png")


def remembered_features(bank: MemoryBank, workspace: Workspace) -> NDArray[np.float32]:
    store = FeatureStore(workspace.feature_store, bank.extractor)
    return store.load_many([image["sha256"] for image in bank.images])


def assert_certified(bank: MemoryBank, workspace: Workspace) -> None:
    """Every patch of every remembered image lies within the radius of a row, by brute force."""
    features = remembered_features(bank, workspace)
    patches = features.reshape(-1, features.shape[-1]).astype(np.float64)
    coreset = bank.config.coreset
    assert cdist(patches, bank.arrays.rows.astype(np.float64)).min(axis=1).max() <= coreset.radius * (1 + 3e-6)
    assert coreset.radius == bank.arrays.radii[-1]
    assert coreset.patches == len(patches)
    for row, (image, y, x) in zip(bank.arrays.rows, bank.arrays.sources, strict=True):
        np.testing.assert_array_equal(row, features[image, y, x])


@pytest.fixture(scope="module")
def grown_once(
    built_category: Workspace, small_params: Params, draw: Draw, tmp_path_factory: pytest.TempPathFactory
) -> Workspace:
    """Twenty images first, six later: brighter ones, which need rows of their own; both arrivals built."""
    workspace = Workspace(tmp_path_factory.mktemp("grown") / "workspace")
    shutil.copytree(built_category.root, workspace.root)
    arrive(workspace, small_params)
    build.run(workspace, "part", small_params)
    add(workspace, draw, range(20, 26), gain=1.2)
    arrive(workspace, small_params)
    build.run(workspace, "part", small_params)
    return workspace


@pytest.fixture
def grown(grown_once: Workspace, copied_category: Workspace) -> Workspace:
    """A copy of it, to be changed."""
    shutil.copytree(grown_once.root, copied_category.root, dirs_exist_ok=True)
    return copied_category


def test_a_grown_bank_covers_old_and_new_images(
    grown: Workspace, built_category: Workspace, small_params: Params
) -> None:
    before, bank = (MemoryBank.load(workspace.bank("part")) for workspace in (built_category, grown))
    assert_certified(bank, grown)
    coreset = bank.config.coreset
    assert (coreset.arrivals, coreset.rows_merged) == (2, 0)
    assert coreset.rows_added == coreset.rows - before.config.coreset.rows > 0
    assert coreset.radius == before.config.coreset.radius
    np.testing.assert_array_equal(bank.arrays.rows[: len(before.arrays.rows)], before.arrays.rows)
    normals = [entry.sha256 for entry in scan(grown, "part").normals]
    out = calibration.held_out(normals, small_params.build.held_out_share)
    held = {sha256 for sha256, is_held in zip(normals, out, strict=True) if is_held}
    assert {image["sha256"] for image in bank.images} == set(normals) - held
    assert len(bank.arrays.calibration) == len(held)


def test_over_its_budget_a_bank_is_merged_and_still_certified(
    copied_category: Workspace, small_params: Params, draw: Draw
) -> None:
    params = with_build(small_params, rows_at_most=70)
    arrive(copied_category, params)
    first = built(copied_category, params)
    assert first.config.coreset.rows == 70
    for seeds, gain in ((range(20, 24), 1.2), (range(24, 28), 0.7)):
        add(copied_category, draw, seeds, gain)
        arrive(copied_category, params)
        bank = built(copied_category, params)
        assert_certified(bank, copied_category)
        assert bank.config.coreset.rows <= 70
    coreset = bank.config.coreset
    assert coreset.arrivals == 3
    assert coreset.rows == 70 + coreset.rows_added - coreset.rows_merged
    assert coreset.rows_merged > 0
    assert coreset.radius > first.config.coreset.radius


def test_only_features_of_new_and_held_out_images_are_read(grown: Workspace, small_params: Params, draw: Draw) -> None:
    bank = MemoryBank.load(grown.bank("part"))
    add(grown, draw, range(30, 33))
    arrive(grown, small_params)
    store = FeatureStore(grown.feature_store, bank.extractor)
    for image in bank.images:  # neither the features of the old images are there, nor the images
        store._path(image["sha256"]).unlink()
        (grown.root / image["path"]).unlink()
    after = built(grown, small_params)
    assert after.config.coreset.arrivals == 3
    assert after.config.coreset.patches > bank.config.coreset.patches


def test_without_its_cache_the_bank_has_the_same_bytes(grown: Workspace, small_params: Params) -> None:
    before = MemoryBank.load(grown.bank("part")).sha256
    assert list(grown.covers("part").iterdir())
    shutil.rmtree(grown.covers("part"))
    assert built(grown, small_params).sha256 == before
    for file in grown.covers("part").iterdir():
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    assert built(grown, small_params).sha256 == before


def test_one_thread_makes_the_same_bytes_as_four(grown: Workspace, small_params: Params) -> None:
    shutil.rmtree(grown.covers("part"))
    with threadpool_limits(4):
        before = built(grown, small_params).sha256
    shutil.rmtree(grown.covers("part"))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    code = "import os, runpy; os.sched_setaffinity(0, {0}); runpy.run_module('patchcore', run_name='__main__')"
    command = [sys.executable, "-c", code, "build", "--category", "part"]
    done = subprocess.run(command, cwd=grown.root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert MemoryBank.load(grown.bank("part")).sha256 == before
    assert list(grown.covers("part").iterdir())


def test_unrecorded_images_are_one_more_arrival(
    copied_category: Workspace, small_params: Params, draw: Draw, grown: Workspace
) -> None:
    before = MemoryBank.load(grown.bank("part")).sha256
    present = [entry.sha256 for entry in scan(grown, "part").normals]
    first = [entry.sha256 for entry in scan(grown, "part").normals if int(Path(entry.path).stem) < 20]
    record_arrivals(grown.arrivals("part"), first, small_params, anew=True)
    assert built(grown, small_params).sha256 == before
    assert record_arrivals(grown.arrivals("part"), present, small_params)
    assert built(grown, small_params).sha256 == before


def test_the_order_of_arrival_decides_which_rows_there_are(grown: Workspace, small_params: Params) -> None:
    before = MemoryBank.load(grown.bank("part"))
    normals = scan(grown, "part").normals
    later = [entry.sha256 for entry in normals if int(Path(entry.path).stem) >= 20]
    record_arrivals(grown.arrivals("part"), later, small_params, anew=True)
    record_arrivals(grown.arrivals("part"), [entry.sha256 for entry in normals], small_params)
    bank = built(grown, small_params)
    assert bank.sha256 != before.sha256
    assert bank.config.coreset.arrivals == 2
    assert_certified(bank, grown)


@pytest.mark.parametrize("change", ["image removed", "other parameters", "never grown", "no record"])
def test_what_cannot_grow_is_built_from_nothing(
    grown: Workspace, small_params: Params, draw: Draw, change: str
) -> None:
    params = small_params
    if change == "image removed":
        (grown.good_normals("part") / "03.png").unlink()
        write_manifest(grown.manifest("part"), scan(grown, "part"))
    elif change == "no record":
        grown.arrivals("part").unlink()
    else:
        params = with_build(params, **({"seed": 1} if change == "other parameters" else {"incremental": False}))
    bank = built(grown, params)
    assert (bank.config.coreset.arrivals, bank.config.coreset.rows_added) == (1, 0)
    assert_certified(bank, grown)
    grown.arrivals("part").unlink(missing_ok=True)
    shutil.rmtree(grown.covers("part"))
    assert built(grown, params).sha256 == bank.sha256  # nothing but the images and the parameters matters


def test_parameters_that_choose_no_rows_leave_them_as_they_are(grown: Workspace, small_params: Params) -> None:
    before = MemoryBank.load(grown.bank("part"))
    bank = built(grown, with_build(small_params, false_alarm_rate=0.3))
    assert bank.threshold < before.threshold
    np.testing.assert_array_equal(bank.arrays.rows, before.arrays.rows)


def test_new_features_that_are_not_those_of_the_index_are_a_fault(
    grown: Workspace, small_params: Params, draw: Draw
) -> None:
    bank = MemoryBank.load(grown.bank("part"))
    add(grown, draw, range(30, 33))
    new = {entry.sha256 for entry in arrive(grown, small_params).normals} - {image["sha256"] for image in bank.images}
    store = FeatureStore(grown.feature_store, bank.extractor)
    for sha256 in new:
        store._write(sha256, store.load(sha256) + 1)
    with pytest.raises(Fault, match="are not those of"):
        build.run(grown, "part", small_params)
    assert MemoryBank.load(grown.bank("part")).sha256 == bank.sha256


def test_old_covers_make_room_for_new_ones(
    built_category: Workspace, small_params: Params, extractor: Extractor, tmp_path: Path
) -> None:
    normals = scan(built_category, "part").normals
    store = FeatureStore(built_category.feature_store, extractor)
    features = IndexedFeatures(built_category, "part", store, normals)
    for seed in range(10):
        build_params = with_build(small_params, seed=seed).build
        cover_of(tmp_path, "part", features, [[normals[0].sha256], [normals[1].sha256]], build_params)
    assert len(list(tmp_path.iterdir())) == 8
