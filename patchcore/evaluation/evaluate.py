"""The evaluation of a bank: its scores on the labelled evaluation set, and the metrics that follow from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from patchcore._util.parallel import in_order
from patchcore._util.progress import Advance
from patchcore.bank import scoring
from patchcore.bank.memory_bank import MemoryBank
from patchcore.bank.scoring import Scores
from patchcore.dataset.manifest import Manifest
from patchcore.evaluation import metrics
from patchcore.evaluation.metrics import RocCurve
from patchcore.images.decoding import load_mask

_AT_ONCE = 8  # images scored together: bounds memory


class Features(Protocol):
    """A source of the features of images: a feature store, or a view of one."""

    def load_many(self, digests: Sequence[str]) -> NDArray[np.float32]:
        """Return the features of images, by their sha256, float32 (B, h, w, D)."""
        ...


@dataclass(frozen=True)
class BankEvaluation:
    """A bank measured on an evaluation set of B images.

    Attributes:
        scores: The scores of the images, in the manifest's order.
        defective: Bool (B,), the labels.
        anomalous: Bool (B,), the bank's decision at its threshold.
        metrics: By name: image_auroc, average_precision, f1_max, false_alarm_rate, detection_rate, pixel_auroc, aupro;
            pixel_auroc and aupro are None if there are no masks.
        roc: The ROC curve of the image scores.
    """

    scores: Scores
    defective: NDArray[np.bool_]
    anomalous: NDArray[np.bool_]
    metrics: Mapping[str, float | None]
    roc: RocCurve


def evaluate_bank(
    bank: MemoryBank, store: Features, manifest: Manifest, root: Path, *, aupro_limit: float, progress: Advance
) -> BankEvaluation:
    """Measure a bank on the evaluation set of a manifest.

    Args:
        bank: The bank.
        store: The features of the evaluation images by the bank's extractor; each is loaded once.
        manifest: The images, labels and masks.
        root: The workspace that the manifest's paths are relative to.
        aupro_limit: False-positive rate up to which AUPRO integrates.
        progress: Called with the number of images scored so far.

    Raises:
        UndefinedMetric: The set has one class only.
        UnreadableImage: A mask cannot be read.
    """
    scores = score_stored(store, [entry.sha256 for entry in manifest.evaluation], bank.score_features, progress)
    defective = np.array([entry.defective for entry in manifest.evaluation], dtype=bool)
    anomalous = bank.anomalous(scores.image)
    measured: dict[str, float | None] = {
        "image_auroc": metrics.auroc(scores.image, defective),
        "average_precision": metrics.average_precision(scores.image, defective),
        "f1_max": metrics.f1_max(scores.image, defective),
        "false_alarm_rate": float(anomalous[~defective].mean()),
        "detection_rate": float(anomalous[defective].mean()),
        "pixel_auroc": None,
        "aupro": None,
    }
    if manifest.has_masks:
        masks = _masks(manifest, root, bank.config.extractor.image_size)
        maps = bank.anomaly_maps(scores)
        measured["pixel_auroc"] = metrics.auroc(maps, masks)
        measured["aupro"] = metrics.aupro(maps, masks, aupro_limit)
    return BankEvaluation(scores, defective, anomalous, measured, metrics.roc_curve(scores.image, defective))


def score_stored(
    store: Features,
    digests: Sequence[str],
    score: Callable[[NDArray[np.float32]], Scores],
    advance: Advance | None = None,
) -> Scores:
    """Score images by their stored features, in threads and a few at a time, so that memory does not grow.

    Args:
        store: The features.
        digests: The sha256 of each image, at least one.
        score: From features, float32 (B, h, w, D), to scores; several threads call it.
        advance: Called with the number of images scored so far.

    Returns:
        The scores, in the order of the digests.
    """

    def score_block(block: Sequence[str]) -> Scores:
        return score(store.load_many(block))

    parts, done = [], 0
    for part in in_order(
        score_block, (digests[start : start + _AT_ONCE] for start in range(0, len(digests), _AT_ONCE))
    ):
        parts.append(part)
        done += len(part.image)
        if advance:
            advance(done)
    return scoring.join(parts)


def _masks(manifest: Manifest, root: Path, side: int) -> NDArray[np.bool_]:
    """Return the masks of the evaluation images, bool (B, S, S); that of a normal image is False everywhere."""
    empty = np.zeros((side, side), dtype=bool)
    return np.stack([load_mask(root / entry.mask, side) if entry.mask else empty for entry in manifest.evaluation])
