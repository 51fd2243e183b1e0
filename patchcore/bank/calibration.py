"""The threshold and the p-value: split-conformal calibration on normal images that the bank was not built from.

If the next normal image comes from the same distribution as the calibration images (is exchangeable with them), it is
called anomalous with a probability of at most the false-alarm rate. This holds for a finite number of images and for
any distribution of the scores. No defective image is needed.

References:
    Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, Springer, 2005 (the quantile).
    Bates, Candès, Lei, Romano, Sesia: Testing for outliers with conformal p-values, Annals of Statistics 51(1), 2023,
    Eq. 2 (the p-value).
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Threshold:
    """A threshold for image scores.

    Attributes:
        value: An image with a higher score is anomalous. It has the unit of the scores.
        guaranteed_rate: The largest probability, between 0 and 1, that the next normal image is called anomalous: the
            rate that was asked for, or 1 / (n + 1) if n calibration images are too few for that rate.
    """

    value: float
    guaranteed_rate: float


def threshold(calibration: NDArray[np.float32], false_alarm_rate: float) -> Threshold:
    """Return the smallest threshold that keeps the false-alarm rate for the next normal image.

    It is the conformal quantile: the calibration score of rank ceil((n + 1) (1 - rate)), counted from the smallest. If
    that rank is n + 1, there are too few images, and the largest score guarantees a rate of 1 / (n + 1).

    Args:
        calibration: float32 (n,), image scores of n >= 1 held-out normal images.
        false_alarm_rate: The rate, between 0 and 1, both excluded.

    Returns:
        The threshold and the rate that it guarantees.

    Raises:
        ValueError: There is no score, a score is not finite, or the rate is out of range.

    Example:
        >>> scores = np.arange(1, 20, dtype=np.float32)  # 19 images
        >>> threshold(scores, false_alarm_rate=0.1)  # rank ceil(20 * 0.9) = 18
        Threshold(value=18.0, guaranteed_rate=0.1)
        >>> threshold(scores, false_alarm_rate=0.01)  # 19 images are too few
        Threshold(value=19.0, guaranteed_rate=0.05)
    """
    if calibration.ndim != 1 or len(calibration) == 0 or not np.isfinite(calibration).all():
        raise ValueError(f"calibration: got shape {calibration.shape}, expected (n,), n >= 1, finite")
    if not 0 < false_alarm_rate < 1:
        raise ValueError(f"false_alarm_rate: got {false_alarm_rate}, expected between 0 and 1")
    count = len(calibration)
    rank = count + 1 - math.floor(false_alarm_rate * (count + 1) + 1e-9)  # ceil((n + 1)(1 - rate)), safe from rounding
    best_rate = max(false_alarm_rate, 1 / (count + 1))
    return Threshold(float(np.sort(calibration)[min(rank, count) - 1]), best_rate)


def p_values(scores: NDArray[np.float32], calibration: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the conformal p-value of each score: (1 + number of calibration scores at least as large) / (n + 1).

    Args:
        scores: float32 (B,), image scores.
        calibration: float32 (n,), image scores of held-out normal images.

    Returns:
        float64 (B,), from 1 / (n + 1) to 1. Lower is more anomalous. Comparable between banks.

    Example:
        >>> p_values(np.float32([0.5, 2.0, 9.0]), calibration=np.float32([1, 2, 3]))
        array([1.  , 0.75, 0.25])
    """
    at_least = len(calibration) - np.searchsorted(np.sort(calibration), scores, side="left")  # (B,)
    return np.asarray((1 + at_least) / (len(calibration) + 1), dtype=np.float64)


def held_out(digests: Sequence[str], share: float) -> list[bool]:
    """Choose the normal images that calibrate the threshold and are kept out of the bank.

    The choice depends on the content of each image alone, so it stays the same when images are added. At least one
    image is held out, and at least one is not.

    Args:
        digests: The sha256 of each image, with at least two different ones.
        share: The share of images to hold out, between 0 and 1.

    Returns:
        For each image, whether it is held out.

    Raises:
        ValueError: There are fewer than two different images.
    """
    draws = [_draw(digest) for digest in digests]
    if len(set(draws)) < 2:
        raise ValueError(f"digests: got {len(set(draws))} different images, expected at least 2")
    # Draws are multiples of 2^-48, so half a step above the smallest draw is exact in a float and holds that one out.
    cut = min(max(share, min(draws) + 2**-49), max(draws))
    return [draw < cut for draw in draws]


def _draw(digest: str) -> float:
    """Return a number from 0 to 1 that depends only on the content of an image."""
    fresh = hashlib.sha256(b"calibration " + digest.encode()).digest()
    return int.from_bytes(fresh[:6], "big") / 2**48
