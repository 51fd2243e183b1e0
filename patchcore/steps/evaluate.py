"""bank -> metrics: score the evaluation set; write metrics, curves, scores and example heatmaps."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from patchcore._util.files import new_folder, write_json
from patchcore._util.progress import progress
from patchcore.bank.memory_bank import MemoryBank
from patchcore.config.params import Params
from patchcore.config.workspace import HEATMAPS, SCORES, Workspace
from patchcore.dataset.manifest import Manifest, read_manifest
from patchcore.errors import TooFewImages
from patchcore.evaluation.evaluate import BankEvaluation, Features, evaluate_bank
from patchcore.evaluation.metrics import UndefinedMetric
from patchcore.extraction.store import FeatureStore
from patchcore.images.decoding import load_rgb
from patchcore.rendering.heatmap import overlay, write_image
from patchcore.steps.csv import write_table
from patchcore.steps.indexed_features import IndexedFeatures

_BINS = 40


def run(workspace: Workspace, category: str, params: Params) -> None:
    """Measure the bank of a category and write its metrics, curves and examples.

    Raises:
        InvalidBank: The bank is damaged.
        TooFewImages: The evaluation set has one class only.
    """
    manifest = read_manifest(workspace.manifest(category))
    bank = MemoryBank.load(workspace.bank(category), weights=workspace.weights, cache=workspace.runtime_cache)
    store = FeatureStore(workspace.feature_store, bank.extractor, params.extract.store)
    features = IndexedFeatures(workspace, category, store, manifest.evaluation)
    features.ensure([entry.sha256 for entry in manifest.evaluation])
    evaluation = _measure(bank, features, manifest, workspace, params)
    write_json(workspace.metrics(category), report(evaluation, manifest, bank))
    roc = zip(evaluation.roc.false_positive_rate, evaluation.roc.true_positive_rate, strict=True)
    write_table(workspace.roc_plot(category), ("false_positive_rate", "true_positive_rate"), roc)
    write_table(workspace.histogram_plot(category), ("score", "images", "label"), _histogram(evaluation))
    _write_results(workspace, category, manifest, bank, evaluation, params.evaluate.example_heatmaps)


def measure(
    bank: MemoryBank, store: FeatureStore, manifest: Manifest, workspace: Workspace, params: Params
) -> BankEvaluation:
    """Measure any bank on a manifest's evaluation set; extract the features that its extractor has not extracted yet.

    Raises:
        TooFewImages: The evaluation set has one class only.
    """
    images = {entry.sha256: workspace.root / entry.path for entry in manifest.evaluation}
    store.ensure(images, lambda _: None)
    return _measure(bank, store, manifest, workspace, params)


def _measure(
    bank: MemoryBank, features: Features, manifest: Manifest, workspace: Workspace, params: Params
) -> BankEvaluation:
    try:
        with progress(f"evaluate {manifest.category}", len(manifest.evaluation)) as advance:
            limit = params.evaluate.aupro_limit
            return evaluate_bank(bank, features, manifest, workspace.root, aupro_limit=limit, progress=advance)
    except UndefinedMetric as error:
        raise TooFewImages(
            f"the evaluation set of {manifest.category} has one class only",
            got=str(error),
            expected="normal images in test/good and defective ones in a folder beside it",
            remedy="add labelled images of the other class",
        ) from error


def report(evaluation: BankEvaluation, manifest: Manifest, bank: MemoryBank) -> dict[str, Any]:
    """Return the content of metrics.json: the metrics, and the digests of the evaluation set and the bank."""
    return {
        **evaluation.metrics,
        "normals": int(np.count_nonzero(~evaluation.defective)),
        "defects": int(np.count_nonzero(evaluation.defective)),
        "evaluation_sha256": manifest.evaluation_sha256,
        "bank_sha256": bank.sha256,
    }


def metrics_of(report: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the metrics of a report, with the numbers of images that they were measured on."""
    return {name: value for name, value in report.items() if not name.endswith("_sha256")}


def _histogram(evaluation: BankEvaluation) -> Iterable[tuple[float, int, str]]:
    scores, defective = evaluation.scores.image, evaluation.defective
    edges = np.histogram_bin_edges(scores, bins=_BINS)
    for label, chosen in (("normal", ~defective), ("defective", defective)):
        counts, _ = np.histogram(scores[chosen], bins=edges)
        middles = (edges[:-1] + edges[1:]) / 2
        yield from ((float(middle), int(count), label) for middle, count in zip(middles, counts, strict=True))


def _write_results(
    workspace: Workspace, category: str, manifest: Manifest, bank: MemoryBank, evaluation: BankEvaluation, examples: int
) -> None:
    p_values = bank.p_values(evaluation.scores.image)
    columns = ("path", "sha256", "label", "score", "p_value", "anomalous")
    entries = manifest.evaluation
    rows = [
        (entry.path, entry.sha256, entry.label, float(score), float(p_value), bool(anomalous))
        for entry, score, p_value, anomalous in zip(
            entries, evaluation.scores.image, p_values, evaluation.anomalous, strict=True
        )
    ]
    with new_folder(workspace.evaluation_results(category)) as folder:
        write_table(folder / SCORES, columns, rows)
        for number in _examples(evaluation, examples):
            path = workspace.root / entries[number].path
            name = f"{HEATMAPS}/{entries[number].label}-{path.stem[:100]}.png"
            _write_heatmap(folder / name, path, bank, evaluation, number)


def _examples(evaluation: BankEvaluation, count: int) -> list[int]:
    """Choose images to show: the highest scores of defective images, and as many of normal images."""
    order = np.argsort(-evaluation.scores.image, kind="stable")
    highest = [int(number) for number in order if evaluation.defective[number]][: (count + 1) // 2]
    normal = [int(number) for number in order if not evaluation.defective[number]][: count // 2]
    return [*highest, *normal]


def _write_heatmap(path: Path, image: Path, bank: MemoryBank, evaluation: BankEvaluation, number: int) -> None:
    only = slice(number, number + 1)
    anomaly_map = bank.anomaly_maps(evaluation.scores.part(only))[0]  # (S, S)
    square = load_rgb(image, bank.config.extractor.image_size)
    write_image(path, overlay(square, anomaly_map, bank.threshold))
