"""Metrics of anomaly detection: how well scores separate defective images or pixels from normal ones.

Letters: B images, H W pixels, T thresholds. Scores are raw scores, higher for more anomalous: to clamp or squash them
first makes ties, which change every metric here. A metric of one class alone is an error, never 0.5 or NaN.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class UndefinedMetric(ValueError):
    """A metric needs normal and defective labels, and one of them is missing."""


@dataclass(frozen=True)
class RocCurve:
    """A receiver operating characteristic (ROC) curve, from (0, 0) to (1, 1).

    Attributes:
        false_positive_rate: Float64 (T,), 0 to 1, rising: the share of normal ones at or above each threshold.
        true_positive_rate: Float64 (T,), 0 to 1, rising: the share of defective ones at or above each threshold.
        thresholds: Float64 (T,), falling; the first is infinite.
    """

    false_positive_rate: NDArray[np.float64]
    true_positive_rate: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def auroc(scores: NDArray[np.float32], defective: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve (AUROC), of images or of pixels.

    It is the probability that a defective one scores higher than a normal one, ties counting one half (Hanley and
    McNeil, "The meaning and use of the area under a receiver operating characteristic (ROC) curve", Radiology 1982).

    Args:
        scores: Float32 of any shape, higher for more anomalous.
        defective: Bool of the same shape.

    Returns:
        0 to 1, higher is better; 0.5 for scores at random.

    Raises:
        UndefinedMetric: One class is missing.
        ValueError: The shapes differ, or a score is not finite.

    Example:
        Of the four pairs of a normal and a defective image, three are in order:

        >>> auroc(np.float32([0.1, 0.4, 0.3, 0.9]), np.array([False, False, True, True]))
        0.75
    """
    from sklearn.metrics import roc_auc_score

    flat_scores, flat_labels = _checked(scores, defective)
    return float(roc_auc_score(flat_labels, flat_scores))


def average_precision(scores: NDArray[np.float32], defective: NDArray[np.bool_]) -> float:
    """Return the average precision: the sum of precision times the increase of recall, over all thresholds.

    It is the area under the precision-recall curve as a step function, without interpolation (Manning, Raghavan and
    Schuetze, "Introduction to Information Retrieval", 2008, section 8.4).

    Args:
        scores: Float32 of any shape, higher for more anomalous.
        defective: Bool of the same shape.

    Returns:
        0 to 1, higher is better; the share of defective ones for scores at random.

    Raises:
        UndefinedMetric: One class is missing.
        ValueError: The shapes differ, or a score is not finite.

    Example:
        >>> round(average_precision(np.float32([0.1, 0.4, 0.3, 0.9]), np.array([False, False, True, True])), 4)
        0.8333
    """
    from sklearn.metrics import average_precision_score

    flat_scores, flat_labels = _checked(scores, defective)
    return float(average_precision_score(flat_labels, flat_scores))


def f1_max(scores: NDArray[np.float32], defective: NDArray[np.bool_]) -> float:
    """Return the largest F1 score over all thresholds (F1-max).

    F1 is the harmonic mean of precision and recall, 2 P R / (P + R); it is 0 where both are 0 (van Rijsbergen,
    "Information Retrieval", 1979; F1-max as in Zou et al., "SPot-the-Difference", ECCV 2022).

    Args:
        scores: Float32 of any shape, higher for more anomalous.
        defective: Bool of the same shape.

    Returns:
        0 to 1, higher is better.

    Raises:
        UndefinedMetric: One class is missing.
        ValueError: The shapes differ, or a score is not finite.

    Example:
        >>> f1_max(np.float32([0.1, 0.4, 0.3, 0.9]), np.array([False, False, True, True]))
        0.8
    """
    from sklearn.metrics import precision_recall_curve

    flat_scores, flat_labels = _checked(scores, defective)
    precision, recall, _ = precision_recall_curve(flat_labels, flat_scores)
    total = precision + recall
    return float(np.max(2 * precision * recall / np.where(total == 0, 1, total)))


def roc_curve(scores: NDArray[np.float32], defective: NDArray[np.bool_]) -> RocCurve:
    """Return the ROC curve: the two rates at every threshold that changes them.

    Args:
        scores: Float32 of any shape, higher for more anomalous.
        defective: Bool of the same shape.

    Raises:
        UndefinedMetric: One class is missing.
        ValueError: The shapes differ, or a score is not finite.
    """
    from sklearn.metrics import roc_curve as sklearn_roc_curve

    flat_scores, flat_labels = _checked(scores, defective)
    false_positive, true_positive, thresholds = sklearn_roc_curve(flat_labels, flat_scores)
    return RocCurve(false_positive, true_positive, thresholds.astype(np.float64))


def aupro(maps: NDArray[np.float32], masks: NDArray[np.bool_], limit: float = 0.3) -> float:
    """Return the area under the per-region-overlap curve (AUPRO) up to a false-positive rate, divided by that rate.

    The per-region overlap at a threshold is the share of the pixels of a defect region (8-connected, per image) that
    score at or above it, averaged over all regions of all images with equal weight (Bergmann et al., "The MVTec Anomaly
    Detection Dataset", IJCV 2021, section 5.2). All thresholds that occur are used, without binning.

    Args:
        maps: Float32 (B, H, W), anomaly maps, higher for more anomalous.
        masks: Bool (B, H, W), True on a defect.
        limit: False-positive rate of pixels at which the integral ends, above 0 and at most 1.

    Returns:
        0 to 1, higher is better.

    Raises:
        UndefinedMetric: There is no defect region, or no normal pixel.
        ValueError: The shapes differ, a score is not finite, or the limit is out of range.

    Example:
        One defect of two pixels; one pixel scores above every normal pixel, the other below half of them:

        >>> maps = np.float32([[[0.9, 0.2], [0.1, 0.3]]])
        >>> masks = np.array([[[True, True], [False, False]]])
        >>> aupro(maps, masks, limit=1.0)
        0.75
    """
    if not 0 < limit <= 1:
        raise ValueError(f"limit: got {limit}, expected over 0 and at most 1")
    scores, labels = _checked(maps, masks)
    weights = _region_weights(masks).ravel()
    order = np.argsort(-scores, kind="stable")
    last_of_a_value = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # ties move together
    false_positive = np.cumsum(~labels[order])[last_of_a_value] / np.count_nonzero(~labels)
    overlap = np.cumsum(weights[order])[last_of_a_value]
    return _area_up_to(limit, np.insert(false_positive, 0, 0.0), np.insert(overlap, 0, 0.0)) / limit


def _region_weights(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return float64 (B, H, W): 1 / (pixels of its region * regions) for each defect pixel; the sum of all is 1."""
    from scipy.ndimage import label

    weights = np.zeros(masks.shape, dtype=np.float64)
    regions = 0
    for image, mask in enumerate(masks):
        numbered, count = label(mask, structure=np.ones((3, 3), dtype=int))
        sizes = np.bincount(numbered.ravel(), minlength=count + 1)
        weights[image][mask] = 1 / sizes[numbered[mask]]
        regions += count
    return weights / regions


def _area_up_to(limit: float, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Integrate a curve by trapezoids from 0 to the limit, where it is cut by interpolation."""
    inside = x <= limit
    at_limit = float(np.interp(limit, x, y))
    return float(np.trapezoid(np.append(y[inside], at_limit), np.append(x[inside], limit)))


def _checked(
    scores: NDArray[np.float32], defective: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    if scores.shape != defective.shape:
        raise ValueError(f"scores and labels: got shapes {scores.shape} and {defective.shape}, expected the same")
    if not np.isfinite(scores).all():
        raise ValueError("scores: got a value that is not finite, expected finite scores")
    labels = defective.astype(bool).ravel()
    if labels.all() or not labels.any():
        only = "defective" if labels.any() else "normal"
        raise UndefinedMetric(f"labels: got {only} ones alone, expected both classes")
    return scores.ravel(), labels
