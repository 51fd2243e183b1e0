"""The threshold and the p-value: split-conformal, from normal images that the bank has not seen.

Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World" (2005); for outlier detection, Bates, Candès,
Lei, Romano, Sesia, "Testing for outliers with conformal p-values" (Annals of Statistics, 2023), Eq. 2. If the next
normal image comes from where the calibration images came from, it is called anomalous with a probability of at most
the stated rate, whatever the distribution of the scores. No defective image is needed.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Threshold:
    """Where normal ends.

    Attributes:
        value: an image is anomalous when its score is larger than this.
        guaranteed_rate: the false-alarm rate that the calibration images can vouch for: the rate asked for, or
            1 / (n + 1) where there are too few images (n) for it.
    """

    value: float
    guaranteed_rate: float


def threshold(calibration: NDArray[np.float32], false_alarm_rate: float) -> Threshold:
    """Return the smallest threshold that keeps the false-alarm rate for the next normal image.

    Args:
        calibration: float32 (n,), scores of held-out normal images, n at least 1.
        false_alarm_rate: between 0 and 1, both excluded.

    Raises:
        ValueError: there is no score, one is not finite, or the rate is out of range.
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
    """Return the conformal p-value of each score: (1 + calibration scores at least as large) / (n + 1).

    Args:
        scores: float32 (B,).
        calibration: float32 (n,).

    Returns:
        float64 (B,), from 1 / (n + 1) to 1; the smaller, the more anomalous. Comparable between banks.

    Example:
        >>> p_values(np.float32([0.5, 2.0, 9.0]), calibration=np.float32([1, 2, 3]))
        array([1.  , 0.75, 0.25])
    """
    at_least = len(calibration) - np.searchsorted(np.sort(calibration), scores, side="left")  # (B,)
    return np.asarray((1 + at_least) / (len(calibration) + 1), dtype=np.float64)


def held_out(digests: Sequence[str], share: float) -> list[bool]:
    """Say which normal images calibrate the threshold and are kept out of the bank.

    Each image is drawn by the hash of its content, so that it stays on its side when others are added. There is
    always at least one image on either side.

    Args:
        digests: sha256 of each image, at least two different ones.
        share: of the images to hold out, between 0 and 1.

    Raises:
        ValueError: there are fewer than two different images.
    """
    draws = [_draw(digest) for digest in digests]
    if len(set(draws)) < 2:
        raise ValueError(f"digests: got {len(set(draws))} different images, expected at least 2")
    # Draws are multiples of 2^-48: half a step above the smallest holds out that one, and is exact in a float.
    cut = min(max(share, min(draws) + 2**-49), max(draws))
    return [draw < cut for draw in draws]


def _draw(digest: str) -> float:
    """Return a number from 0 to 1 that depends on the content alone."""
    fresh = hashlib.sha256(b"calibration " + digest.encode()).digest()
    return int.from_bytes(fresh[:6], "big") / 2**48
