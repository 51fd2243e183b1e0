import math
from dataclasses import fields, replace

import pytest

from patchcore.config.params import GateParams
from patchcore.evaluation.gate import Evaluation, Incumbent, Rule, Rules, judge

RULES = Rules(
    image_auroc_at_least=0.9,
    pixel_auroc_at_least=0.85,
    aupro_at_least=0.8,
    normals_at_least=10,
    defects_at_least=12,
    image_auroc_drop_at_most=0.01,
    pixel_auroc_drop_at_most=0.02,
    aupro_drop_at_most=0.03,
)
GOOD = Evaluation({"image_auroc": 0.95, "pixel_auroc": 0.9, "aupro": 0.88}, 20, 20, True, "a" * 64)
OLD = replace(GOOD, metrics={"image_auroc": 0.955, "pixel_auroc": 0.91, "aupro": 0.9})
INCUMBENT = Incumbent(7, OLD)


def measured(**metrics: float | None) -> Evaluation:
    return replace(GOOD, metrics={**GOOD.metrics, **metrics})


def test_a_first_bank_passes_by_its_floors_with_every_reason() -> None:
    verdict = judge(GOOD, RULES, None)
    assert verdict.passed
    assert verdict.failures == ()
    assert verdict.reasons == (
        "met: image_auroc 0.9500 >= 0.9000",
        "met: pixel_auroc 0.9000 >= 0.8500",
        "met: aupro 0.8800 >= 0.8000",
        "met: normal evaluation images 20 >= 10",
        "met: defective evaluation images 20 >= 12",
        "met: no bank in production to compare with",
    )


def test_a_first_bank_below_its_floor_is_refused() -> None:
    assert judge(measured(image_auroc=0.89), RULES, None).failures == ("failed: image_auroc 0.8900 < 0.9000",)


def test_all_failures_are_reported_not_only_the_first() -> None:
    poor = Evaluation({"image_auroc": 0.5, "pixel_auroc": 0.5, "aupro": 0.5}, 9, 11, True, GOOD.evaluation_sha256)
    verdict = judge(poor, RULES, INCUMBENT)
    assert not verdict.passed
    assert len(verdict.reasons) == len(verdict.failures) == 8
    assert verdict.failures[3:] == (
        "failed: normal evaluation images 9 < 10",
        "failed: defective evaluation images 11 < 12",
        "failed: image_auroc 0.5000 < 0.9450: 0.9550 of version 7 in production, less 0.01",
        "failed: pixel_auroc 0.5000 < 0.8900: 0.9100 of version 7 in production, less 0.02",
        "failed: aupro 0.5000 < 0.8700: 0.9000 of version 7 in production, less 0.03",
    )


@pytest.mark.parametrize("name", ["image_auroc", "pixel_auroc", "aupro"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_not_finite_fails(name: str, value: float) -> None:
    verdict = judge(measured(**{name: value}), RULES, None)
    assert verdict.failures == (f"failed: {name} is {value}, expected a finite number",)
    assert not judge(measured(**{name: value}), RULES, INCUMBENT).passed


@pytest.mark.parametrize("value", [-0.1, 1.7])
def test_a_metric_that_no_measurement_yields_fails(value: float) -> None:
    (failure,) = judge(measured(image_auroc=value), RULES, None).failures
    assert failure == f"failed: image_auroc is {value}, expected a number from 0 to 1"


def test_a_metric_that_no_rule_is_about_must_be_finite_too() -> None:
    verdict = judge(measured(f1_max=math.nan, detection_rate=0.5, average_precision=None), RULES, None)
    assert verdict.failures == ("failed: f1_max is nan, expected a finite number",)


@pytest.mark.parametrize("name", ["pixel_auroc", "aupro"])
def test_where_there_are_masks_a_null_metric_of_pixels_fails(name: str) -> None:
    for incumbent in (None, INCUMBENT):
        (failure,) = judge(measured(**{name: None}), RULES, incumbent).failures
        assert failure.startswith(f"failed: {name} is undefined although there are masks")


@pytest.mark.parametrize("name", ["image_auroc", "pixel_auroc", "aupro"])
def test_a_missing_metric_fails(name: str) -> None:
    metrics = {other: value for other, value in GOOD.metrics.items() if other != name}
    verdict = judge(replace(GOOD, metrics=metrics), RULES, None)
    assert len(verdict.failures) == 1
    assert f"{name} is missing" in verdict.failures[0]


def test_without_masks_the_floors_on_pixels_do_not_count() -> None:
    verdict = judge(replace(measured(pixel_auroc=None, aupro=None), masks=False), RULES, INCUMBENT)
    assert verdict.passed
    assert verdict.reasons[1:3] == (
        "met: pixel_auroc has no masks to be measured on",
        "met: aupro has no masks to be measured on",
    )


def test_an_undefined_image_auroc_fails() -> None:
    verdict = judge(measured(image_auroc=None), RULES, INCUMBENT)
    assert len(verdict.failures) == 2
    assert "undefined" in verdict.failures[0]
    assert "undefined" in verdict.failures[1]


def test_numbers_that_are_equal_when_rounded_are_shown_in_full() -> None:
    (failure,) = judge(measured(image_auroc=0.9 - 1e-9), RULES, None).failures
    assert failure == f"failed: image_auroc {0.9 - 1e-9!r} < 0.9"


@pytest.mark.parametrize(
    ("drop", "passed"), [(-0.04, True), (0.0, True), (0.0099, True), (0.0101, False), (0.05, False)]
)
def test_a_candidate_may_be_a_little_worse_than_production_and_no_more(drop: float, passed: bool) -> None:
    assert judge(measured(image_auroc=0.955 - drop), RULES, INCUMBENT).passed is passed


@pytest.mark.parametrize(
    ("name", "value", "passed"),
    [("pixel_auroc", 0.891, True), ("pixel_auroc", 0.889, False), ("aupro", 0.871, True), ("aupro", 0.869, False)],
)
def test_pixel_metrics_may_not_fall_far_below_production_either(name: str, value: float, passed: bool) -> None:
    verdict = judge(measured(**{name: value}), RULES, INCUMBENT)
    assert verdict.passed is passed
    assert all(f"{name} {value:.4f} < " in failure for failure in verdict.failures)


def test_pixel_metrics_are_compared_only_where_both_have_them() -> None:
    incumbent = replace(INCUMBENT, evaluation=replace(OLD, metrics={**OLD.metrics, "pixel_auroc": None, "aupro": None}))
    verdict = judge(GOOD, RULES, incumbent)
    assert verdict.passed
    assert sum("in production" in reason for reason in verdict.reasons) == 1


def test_an_incumbent_that_cannot_be_measured_is_a_reason() -> None:
    verdict = judge(GOOD, RULES, Incumbent(7, "its bank is damaged"))
    (failure,) = verdict.failures
    assert failure == "failed: version 7 in production cannot be measured on this evaluation set: its bank is damaged"


def test_figures_of_another_evaluation_set_are_not_compared() -> None:
    other = replace(INCUMBENT, evaluation=replace(OLD, evaluation_sha256="b" * 64))
    verdict = judge(measured(image_auroc=1.0), RULES, other)
    assert verdict.failures == ("failed: version 7 in production was measured on another evaluation set",)


@pytest.mark.parametrize("value", [None, math.nan, -math.inf])
def test_an_incumbent_without_a_figure_is_no_reason_to_pass(value: float | None) -> None:
    incumbent = replace(INCUMBENT, evaluation=measured(image_auroc=value))
    assert not judge(GOOD, RULES, incumbent).passed


def test_a_floor_is_met_when_it_is_reached_exactly() -> None:
    exact = Evaluation({"image_auroc": 0.9, "pixel_auroc": 0.85, "aupro": 0.8}, 10, 12, True, GOOD.evaluation_sha256)
    assert judge(exact, RULES, None).passed


@pytest.mark.parametrize("candidate", [GOOD, measured(image_auroc=0.5), measured(aupro=0.1)])
@pytest.mark.parametrize("incumbent", [None, INCUMBENT])
def test_a_rule_about_a_number_is_met_if_the_value_reaches_the_limit(
    candidate: Evaluation, incumbent: Incumbent | None
) -> None:
    numbers = [rule for rule in judge(candidate, RULES, incumbent).rules if rule.limit is not None]
    assert len(numbers) == (5 if incumbent is None else 8)
    assert all(rule.value is not None and rule.met is (rule.value >= rule.limit) for rule in numbers if rule.limit)


def test_rules_are_named_as_in_params_and_carry_their_numbers() -> None:
    verdict = judge(measured(image_auroc=0.5), RULES, INCUMBENT)
    assert [rule.rule.value for rule in verdict.rules] == [
        "image_auroc_at_least", "pixel_auroc_at_least", "aupro_at_least", "normals_at_least", "defects_at_least",
        "image_auroc_drop_at_most", "pixel_auroc_drop_at_most", "aupro_drop_at_most",
    ]  # fmt: skip
    floor, drop = verdict.failed_rules
    assert (floor.rule, floor.value, floor.limit) == (Rule.IMAGE_AUROC_FLOOR, 0.5, 0.9)
    assert (drop.rule, drop.value, drop.limit) == (Rule.IMAGE_AUROC_DROP, 0.5, 0.955 - 0.01)
    (invalid,) = judge(measured(f1_max=math.inf), RULES, None).failed_rules
    assert (invalid.rule, invalid.value, invalid.limit) == (Rule.VALID_METRIC, math.inf, None)
    (lost,) = judge(GOOD, RULES, Incumbent(7, "lost")).failed_rules
    assert (lost.rule, lost.value, lost.limit) == (Rule.COMPARABLE, None, None)


def test_the_rules_of_the_gate_are_those_of_params() -> None:
    named = set(GateParams.model_fields) - {"second_person"}
    assert named == {field.name for field in fields(Rules)}
    assert named == {rule.value for rule in Rule} - {Rule.VALID_METRIC.value, Rule.COMPARABLE.value}
