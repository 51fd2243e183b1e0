import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from patchcore.bank.calibration import held_out, p_values, threshold

RATES = [0.001, 0.01, 0.05, 0.1, 0.15, 0.2, 0.29, 1 / 3, 0.5, 0.9, 0.999]


def digests(count: int, batch: str = "") -> list[str]:
    return [hashlib.sha256(f"{batch} {number}".encode()).hexdigest() for number in range(count)]


@pytest.mark.parametrize("rate", RATES)
def test_anomalous_means_a_p_value_of_at_most_the_rate(rate: float) -> None:
    for count in range(1, 130):
        generator = np.random.default_rng(count)
        # Few different values: ties within the calibration scores and with the scores asked about.
        calibration = generator.integers(0, max(2, count // 2), count).astype(np.float32)
        asked = np.concatenate([calibration, calibration + np.float32(0.5), [-1.0, 1e6]]).astype(np.float32)
        found = threshold(calibration, rate)
        # Where there are too few images for the rate, the guaranteed one is what holds.
        limit = found.guaranteed_rate + 1e-9
        assert found.guaranteed_rate >= rate
        np.testing.assert_array_equal(asked > found.value, p_values(asked, calibration) <= limit)


def test_the_threshold_is_the_smallest_that_keeps_the_rate() -> None:
    scores = np.arange(1, 20, dtype=np.float32)  # n = 19: p-values are multiples of 1/20
    assert threshold(scores, 0.05).value == 19
    assert threshold(scores, 0.10).value == 18
    assert threshold(scores[::-1].copy(), 0.50).value == 10
    assert threshold(scores, 0.01).value == 19
    assert threshold(scores, 0.01).guaranteed_rate == 1 / 20
    assert threshold(scores, 0.10).guaranteed_rate == 0.10
    assert (
        threshold(np.arange(1, 100, dtype=np.float32), 0.29).value == 71
    )  # 0.29 * 100 is 28.999999999999996 in floats


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("count", [19, 60, 199])
def test_the_next_normal_image_is_called_anomalous_as_often_as_promised(rate: float, count: int) -> None:
    trials = 4000
    scores = np.random.default_rng(0).lognormal(0, 1, (trials, count + 1)).astype(np.float32)
    found = [threshold(row[:count], rate) for row in scores]
    alarms = sum(bool(row[count] > limit.value) for row, limit in zip(scores, found, strict=True))
    # Exactly floor(rate (n + 1)) / (n + 1), or the guaranteed rate: a binomial number of alarms.
    expected = max(np.floor(rate * (count + 1) + 1e-9), 1) / (count + 1)
    low, high = binom.interval(0.999, trials, expected)
    assert low <= alarms <= high
    assert expected <= found[0].guaranteed_rate + 1e-12


def test_p_values_count_the_calibration_scores_that_are_at_least_as_large() -> None:
    calibration = np.random.default_rng(1).integers(0, 9, 30).astype(np.float32)
    asked = np.arange(-1, 11, 0.5, dtype=np.float32)
    expected = [(1 + sum(score >= value for score in calibration)) / 31 for value in asked]
    np.testing.assert_allclose(p_values(asked, calibration), expected, rtol=1e-15)


@pytest.mark.parametrize("scores", [[], [[1.0]], [np.nan, 1.0], [1.0, np.inf]])
def test_scores_that_cannot_calibrate_are_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="calibration: got shape"):
        threshold(np.array(scores, dtype=np.float32), 0.05)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_a_rate_out_of_range_is_refused(rate: float) -> None:
    scores: NDArray[np.float32] = np.ones(5, dtype=np.float32)
    with pytest.raises(ValueError, match="false_alarm_rate"):
        threshold(scores, rate)


def test_an_image_stays_on_its_side_when_others_come() -> None:
    old, new = digests(200), digests(100, "new")
    before = held_out(old, 0.2)
    assert held_out([*new, *old], 0.2)[100:] == before
    assert held_out(old[::-1], 0.2) == before[::-1]
    assert held_out([*old, *old], 0.2) == [*before, *before]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_about_the_share_is_held_out(share: float) -> None:
    low, high = binom.interval(0.9999, 2000, share)
    assert low <= sum(held_out(digests(2000), share)) <= high


@pytest.mark.parametrize("share", [1e-9, 0.2, 0.5, 1 - 1e-9])
@pytest.mark.parametrize("count", [2, 3, 5, 10])
def test_there_is_an_image_on_either_side(count: int, share: float) -> None:
    for batch in range(200):
        drawn = held_out(digests(count, str(batch)), share)
        assert 0 < sum(drawn) < count


@pytest.mark.parametrize("few", [[], digests(1), digests(1) * 5])
def test_fewer_than_two_different_images_cannot_be_split(few: list[str]) -> None:
    with pytest.raises(ValueError, match="expected at least 2"):
        held_out(few, 0.2)
