from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from patchcore.evaluation import metrics
from patchcore.evaluation.metrics import UndefinedMetric

Scores = NDArray[np.float32]
Labels = NDArray[np.bool_]
IMAGE_METRICS = [metrics.auroc, metrics.average_precision, metrics.f1_max]


def sample(count: int, seed: int, values: int) -> tuple[Scores, Labels]:
    """Scores with many ties where `values` is small; both classes."""
    generator = np.random.default_rng(seed)
    labels = generator.random(count) < 0.4
    labels[:2] = [True, False]
    return (generator.integers(0, values, count) + labels * values // 4).astype(np.float32), labels


@pytest.mark.parametrize("values", [1, 2, 5, 10_000])
@pytest.mark.parametrize("seed", range(4))
def test_auroc_is_the_share_of_pairs_in_order_a_tie_counting_half(seed: int, values: int) -> None:
    scores, labels = sample(60, seed, values)
    pairs = scores[labels][:, None] - scores[~labels][None]
    expected = ((pairs > 0).sum() + 0.5 * (pairs == 0).sum()) / pairs.size
    assert metrics.auroc(scores, labels) == pytest.approx(expected, abs=1e-12)
    assert metrics.auroc(scores.reshape(6, 10), labels.reshape(6, 10)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("values", [1, 2, 5, 10_000])
@pytest.mark.parametrize("seed", range(4))
def test_average_precision_and_f1_against_a_loop_over_thresholds(seed: int, values: int) -> None:
    scores, labels = sample(50, seed, values)
    average, best, recall_before = 0.0, 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        called = scores >= threshold
        precision, recall = labels[called].mean(), called[labels].mean()
        average += precision * (recall - recall_before)
        best = max(best, 2 * precision * recall / (precision + recall) if precision + recall else 0.0)
        recall_before = recall
    assert metrics.average_precision(scores, labels) == pytest.approx(average, abs=1e-12)
    assert metrics.f1_max(scores, labels) == pytest.approx(best, abs=1e-12)


def test_raw_scores_count_however_large_or_close() -> None:
    labels = np.array([False, True] * 10)
    for scores in (np.linspace(5e8, 9e8, 20), np.linspace(100, 100.01, 20)):
        single = np.sort(scores).astype(np.float32)
        assert metrics.auroc(single, labels) == pytest.approx(0.55)  # clamped to 1 it would be 0.5


def test_the_roc_curve_runs_from_corner_to_corner_over_its_area() -> None:
    scores, labels = sample(80, 0, 30)
    curve = metrics.roc_curve(scores, labels)
    x, y = curve.false_positive_rate, curve.true_positive_rate
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert (np.diff(x) >= 0).all()
    assert (np.diff(y) >= 0).all()
    assert (np.diff(curve.thresholds) < 0).all()
    assert np.trapezoid(y, x) == pytest.approx(metrics.auroc(scores, labels), abs=1e-12)
    for rate, hits, threshold in zip(x, y, curve.thresholds, strict=True):
        assert ((scores[~labels] >= threshold).mean(), (scores[labels] >= threshold).mean()) == (rate, hits)


def regions(mask: Labels) -> list[Labels]:
    """The 8-connected regions of a mask, by flood fill."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        region, queue = np.zeros_like(mask), [left.pop()]
        while queue:
            y, x = queue.pop()
            region[y, x] = True
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= around
            queue.extend(around)
        found.append(region)
    return found


def aupro_by_loop(maps: Scores, masks: Labels, limit: float) -> float:
    """The definition, threshold by threshold."""
    every = [(image, region) for image, mask in zip(maps, masks, strict=True) for region in regions(mask)]
    x, y = [0.0], [0.0]
    for threshold in np.unique(maps)[::-1]:
        x.append(float((maps[~masks] >= threshold).mean()))
        y.append(float(np.mean([(image[region] >= threshold).mean() for image, region in every])))
    area = 0.0
    for left, right, low, high in zip(x, x[1:], y, y[1:], strict=False):
        if left >= limit:
            break
        cut = min(right, limit)
        at_cut = high if right == left else low + (high - low) * (cut - left) / (right - left)
        area += (cut - left) * (low + at_cut) / 2
    return area / limit


def defects(seed: int, levels: int) -> tuple[Scores, Labels]:
    """Two defective images, a normal one: diagonal contacts, single pixels, regions at the border; many ties."""
    generator = np.random.default_rng(seed)
    masks = generator.random((3, 14, 11)) < 0.12
    masks[1, 2:5, 0:4] = True
    masks[1, 5, 4] = True  # touches by a corner: one region
    masks[2] = False
    maps = generator.integers(0, levels, masks.shape) + masks * levels // 3
    return maps.astype(np.float32), masks


@pytest.mark.parametrize("limit", [0.01, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("levels", [3, 40, 100_000])
@pytest.mark.parametrize("seed", range(3))
def test_aupro_against_its_definition(seed: int, levels: int, limit: float) -> None:
    maps, masks = defects(seed, levels)
    assert metrics.aupro(maps, masks, limit) == pytest.approx(aupro_by_loop(maps, masks, limit), abs=1e-12)


def test_aupro_of_perfect_constant_and_reversed_maps() -> None:
    masks = defects(0, 5)[1]
    perfect = masks.astype(np.float32)
    assert metrics.aupro(perfect, masks) == pytest.approx(1.0)
    assert metrics.aupro(-perfect, masks) == pytest.approx(0.0)
    assert metrics.aupro(np.zeros_like(perfect), masks) == pytest.approx(0.15)  # the diagonal, up to 0.3


def test_aupro_gives_a_small_region_the_weight_of_a_large_one() -> None:
    masks = np.zeros((1, 20, 20), dtype=bool)
    masks[0, :10, :10] = True
    masks[0, 15, 15] = True
    maps = np.zeros((1, 20, 20), dtype=np.float32)
    maps[0, 15, 15] = 1  # only the single pixel is found
    assert metrics.aupro(maps, masks, 1.0) == pytest.approx(0.75)  # half at once, the rest along the diagonal


@pytest.mark.parametrize("metric", [*IMAGE_METRICS, metrics.roc_curve, metrics.aupro])
@pytest.mark.parametrize("label", [True, False])
def test_one_class_alone_is_an_error_never_a_number(metric: Callable[[Scores, Labels], object], label: bool) -> None:
    shape = (2, 3, 4)
    with pytest.raises(UndefinedMetric, match="expected both classes"):
        metric(np.zeros(shape, dtype=np.float32), np.full(shape, label))


@pytest.mark.parametrize("metric", [*IMAGE_METRICS, metrics.roc_curve, metrics.aupro])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_not_finite_is_an_error(metric: Callable[[Scores, Labels], object], value: float) -> None:
    scores, masks = defects(0, 5)
    scores[0, 0, 0] = value
    with pytest.raises(ValueError, match="not finite"):
        metric(scores, masks)


@pytest.mark.parametrize("metric", [*IMAGE_METRICS, metrics.aupro])
def test_shapes_must_agree(metric: Callable[[Scores, Labels], float]) -> None:
    scores, masks = defects(0, 5)
    with pytest.raises(ValueError, match="expected the same"):
        metric(scores[:2], masks)


@pytest.mark.parametrize("metric", [*IMAGE_METRICS, metrics.aupro])
def test_a_constant_score_gives_a_finite_metric(metric: Callable[[Scores, Labels], float]) -> None:
    scores, masks = defects(1, 5)
    assert 0 <= metric(np.full_like(scores, 7), masks) <= 1


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.01, float("nan")])
def test_a_limit_out_of_range_is_an_error(limit: float) -> None:
    with pytest.raises(ValueError, match="limit: got"):
        metrics.aupro(*defects(0, 5), limit)
