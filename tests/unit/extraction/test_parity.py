import logging
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcore.errors import Refused
from patchcore.extraction import parity
from patchcore.extraction.extractor import Extractor, ExtractorConfig
from patchcore.extraction.parity import (
    ParityConfig,
    check_parity,
    compare,
    counterpart,
    extractor_at_work,
    require_parity,
)
from patchcore.extraction.runtimes.base import Precision, RuntimeName
from patchcore.extraction.runtimes.precision import computes

Draw = Callable[..., NDArray[np.uint8]]

needs_bfloat16 = pytest.mark.skipif(not computes("openvino", "bfloat16"), reason="a CPU with bfloat16 instructions")


def mean_feature(features: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(np.abs(features).mean(axis=(1, 2, 3)))


@pytest.fixture(scope="module")
def images(draw: Draw) -> NDArray[np.uint8]:
    return np.stack([draw(seed) for seed in range(6)])


def recorded(runtime: RuntimeName = "torch", precision: Precision = "float32", *, passed: bool = True) -> ParityConfig:
    return ParityConfig(
        runtime=runtime,
        runtime_version="1",
        precision=precision,
        images=16,
        feature_error=1e-5,
        score_error=1e-6,
        flips=0 if passed else 2,
        passed=passed,
    )


def built_by(extractor: Extractor, runtime: RuntimeName, precision: Precision = "float32") -> ExtractorConfig:
    return extractor.on(runtime, precision).config


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_the_two_runtimes_agree_on_images(
    extractor: Extractor, images: NDArray[np.uint8], runtime: RuntimeName
) -> None:
    own = extractor.on(runtime, "float32")
    scores = mean_feature(own.network(images))
    # The threshold is a score of one of the images, as it is in a bank.
    measured = check_parity(own, images, mean_feature, float(np.sort(scores)[-2]))
    assert measured is not None
    assert measured.runtime != runtime
    assert measured.passed
    assert measured.flips == 0
    assert measured.images == 6
    assert 0 < measured.feature_error < 1e-4
    assert 0 < measured.score_error < 1e-5


def test_the_errors_are_those_that_the_docstring_says(extractor: Extractor, images: NDArray[np.uint8]) -> None:
    measured = check_parity(extractor, images, mean_feature, 1.0)
    own, other = extractor.network(images), extractor.on("torch", "float32").network(images)
    assert measured is not None
    expected = np.abs(own - other).max() / np.sqrt((own.astype(float) ** 2).mean())
    np.testing.assert_allclose(measured.feature_error, expected, rtol=1e-6)
    scores, others = mean_feature(own), mean_feature(other)
    np.testing.assert_allclose(
        measured.score_error, np.abs(scores - others).max() / np.sqrt((scores.astype(float) ** 2).mean()), rtol=1e-6
    )


@needs_bfloat16
def test_bfloat16_is_compared_with_float32_and_flips_are_counted(
    extractor: Extractor, images: NDArray[np.uint8]
) -> None:
    own = extractor.on("openvino", "bfloat16")
    mine, theirs = mean_feature(own.network(images)), mean_feature(extractor.network(images))
    between = float((mine[0] + theirs[0]) / 2)
    measured = check_parity(own, images, mean_feature, between)
    assert measured is not None
    assert (measured.runtime, measured.precision) == ("openvino", "float32")
    assert measured.flips == np.count_nonzero((mine > np.float32(between)) != (theirs > np.float32(between))) > 0
    assert measured.feature_error > parity.FEATURE_ERROR_LIMIT
    assert not measured.passed
    with pytest.raises(Refused, match="no bank in bfloat16") as caught:
        require_parity(own.config, measured)
    assert f"{measured.flips} flips" in caught.value.got


def first_feature(features: NDArray[np.float32]) -> NDArray[np.float32]:
    return features[:, 0, 0, 0]


def compared(extractor: Extractor, own: list[float], other: list[float], threshold: float) -> ParityConfig:
    """Features of one number an image, which is its score too."""
    features, theirs = (np.array(values, dtype=np.float32)[:, None, None, None] for values in (own, other))
    return compare(extractor.config, features, theirs, first_feature, threshold)


def test_a_flip_alone_fails_the_comparison(extractor: Extractor) -> None:
    flipped = compared(extractor, [10.0, 10.001], [10.0, 10.003], 10.002)
    assert (flipped.flips, flipped.passed) == (1, False)
    assert compared(extractor, [10.0, 10.001], [10.0, 10.003], 10.1).passed


def test_the_image_that_sets_the_threshold_does_not_flip(extractor: Extractor) -> None:
    assert compared(extractor, [10.0, 10.001], [10.0, 10.002], float(np.float32(10.001))).passed


def test_a_score_or_a_feature_too_far_off_fails_the_comparison(extractor: Extractor) -> None:
    assert compared(extractor, [10.0, 10.0], [10.0, 10.09], 20.0).passed
    far = compared(extractor, [10.0, 10.0], [10.0, 10.11], 20.0)
    assert far.score_error > parity.SCORE_ERROR_LIMIT
    assert far.feature_error < parity.FEATURE_ERROR_LIMIT
    assert not far.passed


def test_without_images_nothing_is_compared(extractor: Extractor, images: NDArray[np.uint8]) -> None:
    assert check_parity(extractor, images[:0], mean_feature, 1.0) is None


def test_without_the_other_runtime_nothing_is_compared(extractor: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert counterpart(extractor) is not None
    monkeypatch.setattr(parity, "importable", lambda runtime: runtime == "openvino")
    assert counterpart(extractor) is None


def test_a_bank_in_bfloat16_needs_parity_and_one_in_float32_does_not(extractor: Extractor) -> None:
    require_parity(built_by(extractor, "openvino"), None)
    require_parity(built_by(extractor, "openvino", "bfloat16"), recorded("openvino"))
    with pytest.raises(Refused, match="no comparison on record") as caught:
        require_parity(built_by(extractor, "openvino", "bfloat16"), None)
    assert "extract.parity_images" in caught.value.remedy


def test_a_banks_own_runtime_scores(extractor: Extractor) -> None:
    own = built_by(extractor, "torch")
    assert extractor_at_work(own, None) == own
    assert extractor_at_work(own, recorded("openvino"), "torch", "float32") == own


def test_another_runtime_scores_where_the_two_agree(extractor: Extractor) -> None:
    at_work = extractor_at_work(built_by(extractor, "openvino"), recorded("torch"), "torch")
    assert (at_work.runtime, at_work.precision) == ("torch", "float32")


@pytest.mark.parametrize(
    ("comparison", "got"),
    [
        (None, "no comparison on record"),
        (recorded("torch", passed=False), "2 flips"),
        (recorded("openvino"), "openvino"),
    ],
)
def test_another_runtime_is_refused_where_they_do_not(
    extractor: Extractor, comparison: ParityConfig | None, got: str
) -> None:
    with pytest.raises(Refused, match="torch in float32 may not score for this bank") as caught:
        extractor_at_work(built_by(extractor, "openvino"), comparison, "torch")
    assert got in caught.value.got
    assert "built by openvino in float32" in caught.value.got
    assert caught.value.exit_code == 3


def test_another_precision_is_refused_too(extractor: Extractor) -> None:
    with pytest.raises(Refused, match="may not score"):
        extractor_at_work(built_by(extractor, "openvino", "bfloat16"), None, precision="float32")
    agreed = extractor_at_work(built_by(extractor, "openvino", "bfloat16"), recorded("openvino"), precision="float32")
    assert agreed.precision == "float32"


def test_a_machine_without_the_banks_own_takes_what_agreed_with_it_and_says_so(
    extractor: Extractor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(parity, "computes", lambda _, precision: precision == "float32")
    monkeypatch.setattr(parity, "importable", lambda runtime: runtime == "openvino")
    with caplog.at_level(logging.WARNING):
        at_work = extractor_at_work(built_by(extractor, "openvino", "bfloat16"), recorded("openvino"))
    assert at_work.precision == "float32"
    assert "openvino in float32 instead of openvino in bfloat16 scores" in caplog.text
    with pytest.raises(Refused, match="a machine without openvino in bfloat16"):
        extractor_at_work(built_by(extractor, "openvino", "bfloat16"), recorded("openvino", passed=False))
    assert extractor_at_work(built_by(extractor, "torch"), recorded("openvino")).runtime == "openvino"
    with pytest.raises(Refused, match="a machine without torch in float32") as caught:
        extractor_at_work(built_by(extractor, "torch"), None)
    assert "install torch" in caught.value.remedy
