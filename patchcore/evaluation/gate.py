"""The gate decides from the metrics of a bank whether it may go to production. Pure functions.

A candidate passes when it meets every rule:

- each metric reaches the floor of params.yaml (``image_auroc_at_least`` and so on); pixel metrics only where the
  evaluation set has masks;
- every metric is a finite number, and an AUROC or AUPRO lies between 0 and 1;
- the evaluation set has enough normal and enough defective images;
- no metric is lower than that of the bank in production by more than params.yaml allows (``image_auroc_drop_at_most``
  and so on), both measured on the same evaluation set.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Rule(StrEnum):
    """A rule of the gate: by its name in the block ``gate`` of params.yaml, where it has one."""

    IMAGE_AUROC_FLOOR = "image_auroc_at_least"
    PIXEL_AUROC_FLOOR = "pixel_auroc_at_least"
    AUPRO_FLOOR = "aupro_at_least"
    VALID_METRIC = "metric_is_valid"
    NORMALS = "normals_at_least"
    DEFECTS = "defects_at_least"
    COMPARABLE = "comparable_with_production"
    IMAGE_AUROC_DROP = "image_auroc_drop_at_most"
    PIXEL_AUROC_DROP = "pixel_auroc_drop_at_most"
    AUPRO_DROP = "aupro_drop_at_most"


_FLOORS = {
    "image_auroc": Rule.IMAGE_AUROC_FLOOR,
    "pixel_auroc": Rule.PIXEL_AUROC_FLOOR,
    "aupro": Rule.AUPRO_FLOOR,
}
_DROPS = {
    "image_auroc": Rule.IMAGE_AUROC_DROP,
    "pixel_auroc": Rule.PIXEL_AUROC_DROP,
    "aupro": Rule.AUPRO_DROP,
}


@dataclass(frozen=True)
class Rules:
    """What a candidate must reach. Rules about pixel metrics apply where the evaluation set has masks.

    Attributes:
        image_auroc_at_least: lowest image AUROC, 0 to 1.
        pixel_auroc_at_least: lowest pixel AUROC, 0 to 1.
        aupro_at_least: lowest AUPRO, 0 to 1.
        normals_at_least: fewest normal images in the evaluation set.
        defects_at_least: fewest defective images in it.
        image_auroc_drop_at_most: how far the image AUROC may lie below that of the bank in production.
        pixel_auroc_drop_at_most: the same for the pixel AUROC.
        aupro_drop_at_most: the same for AUPRO.
    """

    image_auroc_at_least: float
    pixel_auroc_at_least: float
    aupro_at_least: float
    normals_at_least: int
    defects_at_least: int
    image_auroc_drop_at_most: float
    pixel_auroc_drop_at_most: float
    aupro_drop_at_most: float

    def limit(self, rule: Rule) -> float:
        """Return the value of a rule that params.yaml has.

        Raises:
            AttributeError: params.yaml has no value for this rule.
        """
        return float(getattr(self, rule.value))


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a bank.

    Attributes:
        metrics: by name; None where a metric is undefined, as pixel metrics are without masks.
        normals: normal images in the evaluation set.
        defects: defective images in it.
        masks: whether the defective images have masks.
        evaluation_sha256: the digest of the evaluation set.
    """

    metrics: Mapping[str, float | None]
    normals: int
    defects: int
    masks: bool
    evaluation_sha256: str


@dataclass(frozen=True)
class Incumbent:
    """The bank in production: its version, and its metrics or the reason why there are none."""

    version: int
    evaluation: Evaluation | str


@dataclass(frozen=True)
class JudgedRule:
    """One rule and whether the candidate meets it.

    Attributes:
        rule: which rule.
        met: whether the candidate meets it.
        value: what was measured of the candidate; None where there is nothing to measure.
        limit: the lowest value that meets the rule; None where the rule is not about a limit. Where both numbers are
            there, ``met`` is ``value >= limit``.
        text: the same in words, for people.
    """

    rule: Rule
    met: bool
    value: float | None
    limit: float | None
    text: str

    @property
    def reason(self) -> str:
        """The words, with ``met: `` or ``failed: `` before them."""
        return f"{'met' if self.met else 'failed'}: {self.text}"


@dataclass(frozen=True)
class Verdict:
    """Every rule as it was judged; the bank may go to production if all are met."""

    rules: tuple[JudgedRule, ...]

    @property
    def passed(self) -> bool:
        """Whether every rule is met."""
        return all(rule.met for rule in self.rules)

    @property
    def failed_rules(self) -> tuple[JudgedRule, ...]:
        """The rules that are not met."""
        return tuple(rule for rule in self.rules if not rule.met)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Every rule in words."""
        return tuple(rule.reason for rule in self.rules)

    @property
    def failures(self) -> tuple[str, ...]:
        """The rules that are not met, in words."""
        return tuple(rule.reason for rule in self.failed_rules)


def judge(candidate: Evaluation, rules: Rules, incumbent: Incumbent | None) -> Verdict:
    """Judge a candidate by every rule; the first bank of a category (no incumbent) must reach the floors too.

    Args:
        candidate: what was measured of the bank that may go to production.
        rules: what it must reach.
        incumbent: the bank in production. A candidate fails if the incumbent was not measured on the same evaluation
            set, because metrics of different sets cannot be compared.

    Example:
        >>> rules = Rules(0.9, 0.9, 0.8, 10, 10, 0.01, 0.01, 0.02)
        >>> metrics = {"image_auroc": 0.87, "pixel_auroc": None, "aupro": None}
        >>> verdict = judge(Evaluation(metrics, 20, 12, masks=False, evaluation_sha256="00"), rules, incumbent=None)
        >>> verdict.passed, verdict.failures
        (False, ('failed: image_auroc 0.8700 < 0.9000',))
        >>> [(rule.rule.value, rule.value, rule.limit) for rule in verdict.failed_rules]
        [('image_auroc_at_least', 0.87, 0.9)]
    """
    return Verdict(
        (
            *(_floor(name, candidate, rules) for name in _FLOORS),
            *_other_metrics(candidate),
            _at_least(Rule.NORMALS, "normal evaluation images", candidate.normals, rules.normals_at_least),
            _at_least(Rule.DEFECTS, "defective evaluation images", candidate.defects, rules.defects_at_least),
            *_against(incumbent, candidate, rules),
        )
    )


def _floor(name: str, candidate: Evaluation, rules: Rules) -> JudgedRule:
    rule, value = _FLOORS[name], candidate.metrics.get(name)
    floor = rules.limit(rule)
    if value is None:
        met, text = _undefined(name, candidate, floor)
        return JudgedRule(rule, met, None, floor, text)
    if not math.isfinite(value):
        return _invalid(name, value)
    if not 0 <= value <= 1:
        return _invalid(name, value, "a number from 0 to 1")
    return _at_least(rule, name, value, floor)


def _undefined(name: str, candidate: Evaluation, floor: float) -> tuple[bool, str]:
    """Say whether a metric may be undefined, and why: only a pixel metric may, and only where there are no masks."""
    if name not in candidate.metrics:
        return False, f"{name} is missing, expected at least {floor}"
    if name == "image_auroc" or candidate.masks:
        although = "" if name == "image_auroc" else " although there are masks"
        return False, f"{name} is undefined{although}, expected at least {floor}"
    return True, f"{name} has no masks to be measured on"


def _other_metrics(candidate: Evaluation) -> Iterator[JudgedRule]:
    """Yield a rule for each metric without a floor that is not finite: then something is wrong with the measurement."""
    for name, value in candidate.metrics.items():
        if name not in _FLOORS and value is not None and not math.isfinite(value):
            yield _invalid(name, value)


def _invalid(name: str, value: float, expected: str = "a finite number") -> JudgedRule:
    return JudgedRule(Rule.VALID_METRIC, False, value, None, f"{name} is {value}, expected {expected}")


def _at_least(rule: Rule, name: str, value: float, floor: float) -> JudgedRule:
    return JudgedRule(rule, value >= floor, value, floor, f"{name} {_compared(value, floor)}")


def _against(incumbent: Incumbent | None, candidate: Evaluation, rules: Rules) -> Iterator[JudgedRule]:
    if incumbent is None:
        yield JudgedRule(Rule.COMPARABLE, True, None, None, "no bank in production to compare with")
        return
    name, measured = f"version {incumbent.version} in production", incumbent.evaluation
    if isinstance(measured, str):
        text = f"{name} cannot be measured on this evaluation set: {measured}"
        yield JudgedRule(Rule.COMPARABLE, False, None, None, text)
    elif measured.evaluation_sha256 != candidate.evaluation_sha256:
        yield JudgedRule(Rule.COMPARABLE, False, None, None, f"{name} was measured on another evaluation set")
    else:
        for metric, rule in _DROPS.items():
            old, new = measured.metrics.get(metric), candidate.metrics.get(metric)
            if metric == "image_auroc" or (old is not None and new is not None):
                yield _drop(rule, metric, old, new, rules.limit(rule), name)


def _drop(rule: Rule, metric: str, old: float | None, new: float | None, drop: float, name: str) -> JudgedRule:
    if old is None or new is None:
        return JudgedRule(rule, False, new, None, f"{metric} of {name} or of the candidate is undefined")
    if not (math.isfinite(old) and math.isfinite(new)):
        text = f"{metric} of {name} is {old}, that of the candidate {new}, expected finite numbers"
        return JudgedRule(rule, False, new, None, text)
    lowest = old - drop
    text = f"{metric} {_compared(new, lowest)}: {_number(old)} of {name}, less {drop}"
    return JudgedRule(rule, new >= lowest, new, lowest, text)


def _compared(value: float, floor: float) -> str:
    texts = _number(value), _number(floor)
    if texts[0] == texts[1] and value < floor:  # the rounded numbers would contradict the verdict
        texts = repr(value), repr(floor)
    return f"{texts[0]} {'>=' if value >= floor else '<'} {texts[1]}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4f}"
