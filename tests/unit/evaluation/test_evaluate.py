from dataclasses import replace

import numpy as np
import pytest

from patchcore.bank.memory_bank import MemoryBank
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import Manifest, read_manifest
from patchcore.evaluation import metrics
from patchcore.evaluation.evaluate import BankEvaluation, evaluate_bank
from patchcore.evaluation.metrics import UndefinedMetric
from patchcore.extraction.store import FeatureStore
from patchcore.images.decoding import load_mask, load_rgb


@pytest.fixture(scope="module")
def bank(built_category: Workspace) -> MemoryBank:
    return MemoryBank.load(built_category.bank("part"))


@pytest.fixture(scope="module")
def manifest(built_category: Workspace) -> Manifest:
    return read_manifest(built_category.manifest("part"))


def evaluate(bank: MemoryBank, manifest: Manifest, workspace: Workspace) -> BankEvaluation:
    store = FeatureStore(workspace.feature_store, bank.extractor)
    return evaluate_bank(bank, store, manifest, workspace.root, aupro_limit=0.3, progress=lambda _: None)


def test_every_metric_is_that_of_the_scores(bank: MemoryBank, manifest: Manifest, built_category: Workspace) -> None:
    found = evaluate(bank, manifest, built_category)
    root = built_category.root
    scores = bank.score([load_rgb(root / entry.path, 96) for entry in manifest.evaluation])
    defective = np.array([entry.label == "scratch" for entry in manifest.evaluation])
    np.testing.assert_array_equal(found.scores.image, scores.image)
    np.testing.assert_array_equal(found.defective, defective)
    np.testing.assert_array_equal(found.anomalous, scores.image > bank.threshold)
    masks = np.zeros((10, 96, 96), dtype=bool)
    for number, entry in enumerate(manifest.evaluation):
        if entry.mask:
            masks[number] = load_mask(root / entry.mask, 96)
    maps = bank.anomaly_maps(scores)
    assert masks.sum() == 5 * 6 * 44
    assert dict(found.metrics) == {
        "image_auroc": metrics.auroc(scores.image, defective),
        "average_precision": metrics.average_precision(scores.image, defective),
        "f1_max": metrics.f1_max(scores.image, defective),
        "false_alarm_rate": (scores.image[~defective] > bank.threshold).mean(),
        "detection_rate": (scores.image[defective] > bank.threshold).mean(),
        "pixel_auroc": metrics.auroc(maps, masks),
        "aupro": metrics.aupro(maps, masks, 0.3),
    }


def test_drawn_scratches_are_found(bank: MemoryBank, manifest: Manifest, built_category: Workspace) -> None:
    found = evaluate(bank, manifest, built_category).metrics
    assert found["image_auroc"] == found["average_precision"] == found["f1_max"] == found["detection_rate"] == 1
    pixels, overlap = found["pixel_auroc"], found["aupro"]
    assert pixels is not None
    assert pixels > 0.95
    assert overlap is not None
    assert overlap > 0.8


def test_without_masks_there_are_no_pixel_metrics(
    bank: MemoryBank, manifest: Manifest, built_category: Workspace
) -> None:
    bare = replace(
        manifest, evaluation=tuple(replace(entry, mask=None, mask_sha256=None) for entry in manifest.evaluation)
    )
    found = evaluate(bank, bare, built_category).metrics
    assert (found["pixel_auroc"], found["aupro"]) == (None, None)
    assert found["image_auroc"] == 1


@pytest.mark.parametrize("label", ["good", "scratch"])
def test_one_class_alone_is_an_error(
    bank: MemoryBank, manifest: Manifest, built_category: Workspace, label: str
) -> None:
    half = replace(manifest, evaluation=tuple(entry for entry in manifest.evaluation if entry.label == label))
    with pytest.raises(UndefinedMetric):
        evaluate(bank, half, built_category)
