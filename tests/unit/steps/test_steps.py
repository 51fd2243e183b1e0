import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchcore._util.files import read_json, sha256_of
from patchcore.bank import calibration, scoring
from patchcore.bank.memory_bank import MemoryBank
from patchcore.bank.scoring import Scores
from patchcore.config.params import Params
from patchcore.config.workspace import Workspace
from patchcore.coreset import kcenter
from patchcore.dataset.manifest import read_manifest, scan, write_manifest
from patchcore.errors import Fault, Refused
from patchcore.evaluation.evaluate import BankEvaluation
from patchcore.evaluation.metrics import roc_curve
from patchcore.extraction.extractor import Extractor
from patchcore.extraction.store import FeatureStore
from patchcore.search.index import NearestNeighbours
from patchcore.steps import build, evaluate, extract


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def with_build(params: Params, **changes: object) -> Params:
    return params.model_copy(update={"build": params.build.model_copy(update=changes)})


def test_extract_writes_a_digest_for_every_image(built_category: Workspace, extractor: Extractor) -> None:
    index = read_json(built_category.features_index("part"))
    images = read_manifest(built_category.manifest("part")).paths()
    store = FeatureStore(built_category.feature_store, extractor)
    assert index["features"] == {sha256: store.digest(sha256) for sha256 in images}
    assert index["fingerprint"] == extractor.fingerprint
    assert index["extractor"] == extractor.config.model_dump(mode="json")


def test_extract_again_reads_no_image(copied_category: Workspace, small_params: Params) -> None:
    before = copied_category.features_index("part").read_bytes()
    shutil.rmtree(copied_category.category("part"))
    extract.run(copied_category, "part", small_params)
    assert copied_category.features_index("part").read_bytes() == before


def test_the_bank_is_made_of_its_parts(built_category: Workspace, small_params: Params) -> None:
    manifest = read_manifest(built_category.manifest("part"))
    bank = MemoryBank.load(built_category.bank("part"))
    store = FeatureStore(built_category.feature_store, bank.extractor)
    out = calibration.held_out([image.sha256 for image in manifest.normals], 0.4)
    remembered = [image for image, held in zip(manifest.normals, out, strict=True) if not held]
    features = store.load_many([image.sha256 for image in remembered])
    patches = features.reshape(-1, 152)
    chosen = kcenter.select(patches, round(0.05 * len(patches)), seed=0)
    np.testing.assert_array_equal(bank.arrays.rows, patches[chosen.indices])
    np.testing.assert_array_equal(bank.arrays.radii, chosen.radii)
    assert list(bank.images) == [vars(image) for image in remembered]
    for row, (image, y, x) in zip(bank.arrays.rows, bank.arrays.sources, strict=True):
        np.testing.assert_array_equal(row, features[image, y, x])
    held = store.load_many([image.sha256 for image, kept in zip(manifest.normals, out, strict=True) if kept])
    rows = bank.arrays.rows
    scores = scoring.score(held, rows, NearestNeighbours(rows), neighbours=1).image
    np.testing.assert_array_equal(bank.arrays.calibration, scores)
    assert bank.threshold == calibration.threshold(scores, 0.05).value
    assert bank.config.dataset.sha256 == manifest.sha256
    assert bank.config.coreset.radius == chosen.radii[-1]


def test_build_reports_the_bank(built_category: Workspace) -> None:
    bank = MemoryBank.load(built_category.bank("part"))
    reported = read_json(built_category.build_metrics("part"))
    for block in ("coreset", "threshold", "dataset"):
        assert reported[block] == getattr(bank.config, block).model_dump()
    curve = table(built_category.radius_plot("part"))
    assert [float(point["radius"]) for point in curve] == [bank.arrays.radii[int(point["rows"]) - 1] for point in curve]
    assert int(curve[-1]["rows"]) == len(bank.arrays.rows)


def test_the_same_data_and_params_give_the_same_bytes(copied_category: Workspace, small_params: Params) -> None:
    before = {name: content(copied_category.root / name) for name in ("work", "reports")}
    for folder in ("work/part/bank", "work/part/evaluation", "reports", ".patchcore/features"):
        shutil.rmtree(copied_category.root / folder)
    for step in (extract, build, evaluate):
        step.run(copied_category, "part", small_params)
    assert {name: content(copied_category.root / name) for name in ("work", "reports")} == before


def test_another_seed_or_equation_gives_another_bank(copied_category: Workspace, small_params: Params) -> None:
    before = MemoryBank.load(copied_category.bank("part"))
    build.run(copied_category, "part", with_build(small_params, neighbours=9))
    weighted = MemoryBank.load(copied_category.bank("part"))
    assert weighted.config.scoring.neighbours == 9
    assert (weighted.arrays.calibration <= before.arrays.calibration).all()  # Eq. 7 only ever lowers a score
    assert (weighted.arrays.calibration < before.arrays.calibration).any()
    build.run(copied_category, "part", with_build(small_params, seed=1, projection_dimension=32))
    other = MemoryBank.load(copied_category.bank("part"))
    assert (other.config.coreset.projection_dimension, other.config.coreset.seed) == (32, 1)
    assert len({before.sha256, weighted.sha256, other.sha256}) == 3


def test_one_image_is_no_bank(copied_category: Workspace, small_params: Params) -> None:
    for path in sorted(copied_category.good_normals("part").iterdir())[1:]:
        path.unlink()
    write_manifest(copied_category.manifest("part"), scan(copied_category, "part"))
    before = content(copied_category.bank("part"))
    with pytest.raises(Refused, match="category part has too few normal images"):
        build.run(copied_category, "part", small_params)
    assert content(copied_category.bank("part")) == before


@pytest.mark.parametrize("change", ["other features", "missing in the index"])
@pytest.mark.parametrize("step", [build, evaluate])
def test_features_that_are_not_those_of_the_index_are_a_fault(
    copied_category: Workspace, small_params: Params, extractor: Extractor, change: str, step: object
) -> None:
    manifest = read_manifest(copied_category.manifest("part"))
    sha256 = (manifest.normals if step is build else manifest.evaluation)[0].sha256
    store = FeatureStore(copied_category.feature_store, extractor)
    index = read_json(copied_category.features_index("part"))
    if change == "other features":
        store._write(sha256, store.load(sha256) + 1)
    else:
        del index["features"][sha256]
        copied_category.features_index("part").write_text(json.dumps(index))
    with pytest.raises(Fault, match=sha256) as caught:
        getattr(step, "run")(copied_category, "part", small_params)  # noqa: B009
    assert "dvc repro" in caught.value.remedy


def test_evaluate_reports_what_it_measured_on_what(built_category: Workspace) -> None:
    manifest = read_manifest(built_category.manifest("part"))
    report = read_json(built_category.metrics("part"))
    assert report["bank_sha256"] == sha256_of(built_category.bank("part") / "bank.json")
    assert report["evaluation_sha256"] == manifest.evaluation_sha256
    assert (report["normals"], report["defects"]) == (5, 5)
    assert report["image_auroc"] == 1
    assert set(evaluate.metrics_of(report)) == set(report) - {"bank_sha256", "evaluation_sha256"}
    scores = table(built_category.evaluation_results("part") / "scores.csv")
    assert [row["path"] for row in scores] == [image.path for image in manifest.evaluation]
    bank = MemoryBank.load(built_category.bank("part"))
    assert all((float(row["score"]) > bank.threshold) == (row["anomalous"] == "True") for row in scores)


def test_evaluate_draws_its_curves(built_category: Workspace) -> None:
    curve = table(built_category.roc_plot("part"))
    x, y = ([float(point[name]) for point in curve] for name in ("false_positive_rate", "true_positive_rate"))
    assert np.trapezoid(y, x) == 1
    bars = table(built_category.histogram_plot("part"))
    counts = {
        label: sum(int(bar["images"]) for bar in bars if bar["label"] == label) for label in ("normal", "defective")
    }
    assert counts == {"normal": 5, "defective": 5}


def test_evaluate_shows_the_highest_scores_of_either_class(built_category: Workspace) -> None:
    shown = sorted((built_category.evaluation_results("part") / "heatmaps").iterdir())
    assert [path.name.split("-")[0] for path in shown] == ["good", "scratch", "scratch"]
    for path in shown:
        with Image.open(path) as image:
            assert image.size == (96, 96)
            levels = np.asarray(image).astype(int)
            coloured = (levels[..., 0] - levels[..., 2] > 20).any()
        if "scratch" in path.name:
            assert coloured


def test_examples_are_of_either_class_whatever_scores_higher() -> None:
    scores = np.array([5, 1, 9, 3, 8], dtype=np.float32)
    defective = np.array([True, True, False, True, False])
    maps = np.zeros((5, 1, 1))
    measured = BankEvaluation(
        Scores(scores, maps.astype(np.float32), maps.astype(np.int64)),
        defective,
        defective,
        {},
        roc_curve(scores, defective),
    )
    assert evaluate._examples(measured, 3) == [0, 3, 2]
    assert evaluate._examples(measured, 0) == []


def test_a_bank_can_be_measured_where_nothing_was_extracted_yet(
    built_category: Workspace, small_params: Params, tmp_path: Path
) -> None:
    bank = MemoryBank.load(built_category.bank("part"))
    manifest = read_manifest(built_category.manifest("part"))
    store = FeatureStore(tmp_path, bank.extractor)
    found = evaluate.measure(bank, store, manifest, built_category, small_params)
    assert evaluate.report(found, manifest, bank) == read_json(built_category.metrics("part"))


@pytest.mark.parametrize("label", ["good", "scratch"])
def test_an_evaluation_set_of_one_class_is_refused(
    copied_category: Workspace, small_params: Params, label: str
) -> None:
    shutil.rmtree(copied_category.evaluation("part") / label)
    shutil.rmtree(copied_category.ground_truth("part") / label, ignore_errors=True)
    write_manifest(copied_category.manifest("part"), scan(copied_category, "part"))
    with pytest.raises(Refused, match="evaluation set of part has one class only"):
        evaluate.run(copied_category, "part", small_params)


def test_a_damaged_bank_is_refused_by_evaluate(copied_category: Workspace, small_params: Params) -> None:
    path = copied_category.bank("part") / "arrays.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(Refused, match=r"arrays\.safetensors"):
        evaluate.run(copied_category, "part", small_params)


def test_images_without_enough_different_patches_for_the_neighbours_are_refused(
    copied_category: Workspace, small_params: Params
) -> None:
    blank = np.full((96, 96, 3), 128, dtype=np.uint8)
    for number, path in enumerate(sorted(copied_category.good_normals("part").iterdir())):
        blank[0, 0, 0] = number  # as files they differ, as images hardly
        Image.fromarray(blank).save(path)
    write_manifest(copied_category.manifest("part"), scan(copied_category, "part"))
    extract.run(copied_category, "part", small_params)
    with pytest.raises(Refused, match="too much alike"):
        build.run(copied_category, "part", with_build(small_params, neighbours=10_000))


def test_a_store_that_was_cleaned_up_is_filled_again_to_the_same_bank(
    copied_category: Workspace, small_params: Params
) -> None:
    before = sha256_of(copied_category.bank("part") / "bank.json"), read_json(copied_category.metrics("part"))
    shutil.rmtree(copied_category.feature_store)
    build.run(copied_category, "part", small_params)
    evaluate.run(copied_category, "part", small_params)
    after = sha256_of(copied_category.bank("part") / "bank.json"), read_json(copied_category.metrics("part"))
    assert after == before
