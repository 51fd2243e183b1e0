"""Parity: whether another runtime may score for a bank, by comparing both runtimes on real images.

Letters: B images, S side of the square image, h w grid of patches, D features.
"""

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from patchcore.errors import RuntimeNotAllowed
from patchcore.extraction.extractor import Extractor, ExtractorConfig
from patchcore.extraction.runtimes.base import Precision, RuntimeName, importable, other_runtime
from patchcore.extraction.runtimes.precision import computes

FEATURE_ERROR_LIMIT = 0.05
"""The largest difference of a feature, relative to the root mean square of all features."""

SCORE_ERROR_LIMIT = 0.01
"""The largest difference of an image's score, relative to the root mean square of the scores."""

_log = logging.getLogger(__name__)


class ParityConfig(BaseModel):
    """The comparison of a bank's extractor with another runtime or precision on real images.

    Attributes:
        runtime: the other runtime.
        runtime_version: its release.
        precision: the precision of its arithmetic.
        images: the number of images.
        feature_error: the largest absolute difference of a feature, relative to the root mean square of the features.
        score_error: the largest absolute difference of a score, relative to the root mean square of the scores.
        flips: the number of images that one calls anomalous and the other does not.
        passed: both errors are within their limits, and there are no flips.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    runtime: RuntimeName
    runtime_version: str
    precision: Precision
    images: int
    feature_error: float
    score_error: float
    flips: int
    passed: bool


def counterpart(own: Extractor) -> Extractor | None:
    """Return the extractor that a bank's own is compared with; None if it is not installed.

    A bank in bfloat16 is compared with float32 on the same runtime. A bank in float32 is compared with the other
    runtime, in float32.
    """
    config = own.config
    if config.precision == "bfloat16":
        return own.on(config.runtime, "float32")
    other = other_runtime(config.runtime)
    return own.on(other, "float32") if importable(other) else None


def check_parity(
    own: Extractor,
    images: NDArray[np.uint8],
    score: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    threshold: float,
) -> ParityConfig | None:
    """Compare a bank's own extractor with its `counterpart` on real images.

    An image whose own score equals the threshold cannot flip: the threshold is the score of such an image.

    Args:
        own: the bank's extractor.
        images: uint8 (B, S, S, 3), held-out normal images, with the extractor's S.
        score: returns image scores, float32 (B,), of features, float32 (B, h, w, D), against the bank's rows.
        threshold: the bank's threshold; larger scores are anomalous.

    Returns:
        The comparison; None if there is no counterpart or there are no images.
    """
    other = counterpart(own)
    if other is None or len(images) == 0:
        return None
    return compare(other.config, own.network(images), other.network(images), score, threshold)


def compare(
    other: ExtractorConfig,
    features: NDArray[np.float32],
    theirs: NDArray[np.float32],
    score: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    threshold: float,
) -> ParityConfig:
    """Compare the features that two extractors made of the same images; see `check_parity`.

    Args:
        other: the configuration of the other extractor.
        features: float32 (B, h, w, D), the features of the bank's own extractor, B at least 1.
        theirs: float32 (B, h, w, D), the features of the other extractor.
        score: returns image scores, float32 (B,), of features, against the bank's rows.
        threshold: the bank's threshold.
    """
    feature_error = _relative_error(features, theirs)
    scores, others = score(features), score(theirs)  # (B,)
    score_error = _relative_error(scores, others)
    limit = np.float32(threshold)
    flips = int((((scores > limit) != (others > limit)) & (scores != limit)).sum())
    return ParityConfig(
        runtime=other.runtime,
        runtime_version=other.runtime_version,
        precision=other.precision,
        images=len(features),
        feature_error=feature_error,
        score_error=score_error,
        flips=flips,
        passed=feature_error <= FEATURE_ERROR_LIMIT and score_error <= SCORE_ERROR_LIMIT and flips == 0,
    )


def require_parity(config: ExtractorConfig, parity: ParityConfig | None) -> None:
    """Check that a bank may be built in its precision.

    Raises:
        RuntimeNotAllowed: the precision is bfloat16, and parity with float32 was not shown.
    """
    if config.precision == "float32" or (parity is not None and parity.passed):
        return
    raise RuntimeNotAllowed(
        f"no bank in {config.precision}: it was not found to score as float32 does",
        got=_measured(parity),
        expected=_limits(),
        remedy="set extract.precision to float32 in params.yaml"
        + ("" if parity else ", or extract.parity_images above 0"),
    )


def extractor_at_work(
    built: ExtractorConfig,
    parity: ParityConfig | None,
    runtime: RuntimeName | None = None,
    precision: Precision | None = None,
) -> ExtractorConfig:
    """Return the extractor that scores for a bank: its own, or one with recorded parity.

    Args:
        built: the extractor that the bank was built with.
        parity: the comparison that was made when the bank was built.
        runtime: the runtime to use; None: the bank's own if this machine has it.
        precision: the precision to use; None: the same.

    Raises:
        RuntimeNotAllowed: no parity is recorded for the runtime and precision to use.
    """
    own = (built.runtime, built.precision)
    wanted = (runtime or built.runtime, precision or built.precision)
    compared = (parity.runtime, parity.precision) if parity else None
    if (runtime, precision) == (None, None) and not _runs(*own) and parity and parity.passed:
        wanted = (parity.runtime, parity.precision)
        _log.warning("%s instead of %s scores for this bank: the two were found to agree", _words(wanted), _words(own))
    if _runs(*wanted) and (wanted == own or (wanted == compared and parity and parity.passed)):
        return built.model_copy(update={"runtime": wanted[0], "precision": wanted[1]})
    raise RuntimeNotAllowed(
        f"{_words(wanted)} may not score for this bank",
        got=f"a bank built by {_words(own)}; "
        + (_measured(parity) if _runs(*wanted) else f"a machine without {_words(wanted)}"),
        expected=f"{_words(own)}, or what was found to score as it does when the bank was built",
        remedy=f"install {built.runtime} {built.runtime_version} on a CPU that has {built.precision}, "
        "or build the bank again",
    )


def _runs(runtime: RuntimeName, precision: Precision) -> bool:
    return importable(runtime) and computes(runtime, precision)


def _relative_error(own: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the largest absolute difference, relative to the root mean square of the first array."""
    difference = float(np.abs(own - other).max())
    scale = float(np.sqrt(np.mean(own.astype(np.float64) ** 2)))
    return difference / scale if scale > 0 else difference


def _words(at_work: tuple[str, str]) -> str:
    return " in ".join(at_work)


def _measured(parity: ParityConfig | None) -> str:
    if parity is None:
        return "no comparison on record"
    return (
        f"{parity.runtime} in {parity.precision} compared on {parity.images} images: feature error "
        f"{parity.feature_error:.2g}, score error {parity.score_error:.2g}, {parity.flips} flips"
    )


def _limits() -> str:
    return f"feature error up to {FEATURE_ERROR_LIMIT}, score error up to {SCORE_ERROR_LIMIT}, no flips"
