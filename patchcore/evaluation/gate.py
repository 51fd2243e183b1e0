"""The gate: metrics, rules and the incumbent in, a verdict with every reason out. Pure."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

Line = tuple[bool, str]  # whether a rule is met, and what was looked at


@dataclass(frozen=True)
class Rules:
    """What a candidate must reach; what is said of pixel metrics holds where there are masks."""

    image_auroc_at_least: float
    pixel_auroc_at_least: float
    aupro_at_least: float
    normals_at_least: int
    defects_at_least: int
    image_auroc_drop_at_most: float
    pixel_auroc_drop_at_most: float
    aupro_drop_at_most: float

    @property
    def floors(self) -> dict[str, float]:
        """The lowest value of each metric, by its name."""
        return {
            "image_auroc": self.image_auroc_at_least,
            "pixel_auroc": self.pixel_auroc_at_least,
            "aupro": self.aupro_at_least,
        }

    @property
    def drops(self) -> dict[str, float]:
        """How far each metric may lie below the incumbent's, by its name."""
        return {
            "image_auroc": self.image_auroc_drop_at_most,
            "pixel_auroc": self.pixel_auroc_drop_at_most,
            "aupro": self.aupro_drop_at_most,
        }


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a bank.

    Attributes:
        metrics: by name; None where one has no meaning, as pixel metrics without masks.
        normals: normal images in the evaluation set.
        defects: defective images in it.
        masks: whether the defective images come with masks.
        evaluation_sha256: which evaluation set it was.
    """

    metrics: Mapping[str, float | None]
    normals: int
    defects: int
    masks: bool
    evaluation_sha256: str


@dataclass(frozen=True)
class Incumbent:
    """The bank in production, measured; or, in its place, why it could not be measured."""

    version: int
    evaluation: Evaluation | str


@dataclass(frozen=True)
class Verdict:
    """Whether a bank may go to production, with a line for every rule that was looked at."""

    passed: bool
    reasons: tuple[str, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """The lines of the rules that were not met."""
        return tuple(reason for reason in self.reasons if reason.startswith("failed"))


def judge(candidate: Evaluation, rules: Rules, incumbent: Incumbent | None) -> Verdict:
    """Judge a candidate by every rule; a first bank (no incumbent) must pass the floors too.

    The incumbent must have been measured on the candidate's evaluation set: figures of different sets cannot be
    compared, so a difference fails the gate.

    Example:
        >>> rules = Rules(0.9, 0.9, 0.8, 10, 10, 0.01, 0.01, 0.02)
        >>> metrics = {"image_auroc": 0.87, "pixel_auroc": None, "aupro": None}
        >>> verdict = judge(Evaluation(metrics, 20, 12, masks=False, evaluation_sha256="00"), rules, incumbent=None)
        >>> verdict.passed, verdict.failures
        (False, ('failed: image_auroc 0.8700 < 0.9000',))
    """
    lines = [
        *(_floor(name, candidate, floor) for name, floor in rules.floors.items()),
        *_finite(candidate, but=rules.floors),
        _line("normal evaluation images", candidate.normals, rules.normals_at_least),
        _line("defective evaluation images", candidate.defects, rules.defects_at_least),
        *_against(incumbent, candidate, rules),
    ]
    return Verdict(all(met for met, _ in lines), tuple(f"{'met' if met else 'failed'}: {text}" for met, text in lines))


def as_json(rules: Rules, candidate: Evaluation, incumbent: Incumbent | None, verdict: Verdict) -> dict[str, Any]:
    """Return a verdict with all that it was reached from, so that anybody can reach it again."""
    return {
        "passed": verdict.passed,
        "reasons": list(verdict.reasons),
        "metrics": finite_or_text(candidate.metrics),
        "normals": candidate.normals,
        "defects": candidate.defects,
        "evaluation_sha256": candidate.evaluation_sha256,
        "rules": asdict(rules),
        "incumbent": None if incumbent is None else _incumbent_as_json(incumbent),
    }


def finite_or_text(metrics: Mapping[str, float | None]) -> dict[str, float | str | None]:
    """Return metrics as JSON can hold them: it has no word for NaN and infinity."""
    return {name: value if _is_finite(value) else str(value) for name, value in metrics.items()}


def _incumbent_as_json(incumbent: Incumbent) -> dict[str, Any]:
    measured = incumbent.evaluation
    if isinstance(measured, str):
        return {"version": incumbent.version, "trouble": measured}
    return {"version": incumbent.version, "metrics": finite_or_text(measured.metrics)}


def _floor(name: str, candidate: Evaluation, floor: float) -> Line:
    value = candidate.metrics.get(name)
    if value is None:
        return _without(name, candidate, floor)
    if not math.isfinite(value):
        return False, f"{name} is {value}, expected a finite number"
    if not 0 <= value <= 1:
        return False, f"{name} is {value}, expected a number from 0 to 1"
    return _line(name, value, floor)


def _without(name: str, candidate: Evaluation, floor: float) -> Line:
    """Return what it means that a metric has no value: nothing wrong only where there are no masks to measure it on."""
    if name not in candidate.metrics:
        return False, f"{name} is missing, expected at least {floor}"
    if name == "image_auroc" or candidate.masks:
        although = "" if name == "image_auroc" else " although there are masks"
        return False, f"{name} is undefined{although}, expected at least {floor}"
    return True, f"{name} has no masks to be measured on"


def _finite(candidate: Evaluation, *, but: Mapping[str, float]) -> Iterator[Line]:
    """Yield a line for every other metric that is not finite: who measures that, measures nothing well."""
    for name, value in candidate.metrics.items():
        if name not in but and not _is_finite(value):
            yield False, f"{name} is {value}, expected a finite number"


def _line(name: str, value: float, floor: float) -> Line:
    return value >= floor, f"{name} {_compared(value, floor)}"


def _against(incumbent: Incumbent | None, candidate: Evaluation, rules: Rules) -> Iterator[Line]:
    if incumbent is None:
        yield True, "no bank in production to compare with"
        return
    name, measured = f"version {incumbent.version} in production", incumbent.evaluation
    if isinstance(measured, str):
        yield False, f"{name} cannot be measured on this evaluation set: {measured}"
    elif measured.evaluation_sha256 != candidate.evaluation_sha256:
        yield False, f"{name} was measured on another evaluation set"
    else:
        for metric, drop in rules.drops.items():
            old, new = measured.metrics.get(metric), candidate.metrics.get(metric)
            if metric == "image_auroc" or (old is not None and new is not None):
                yield _not_worse(metric, old, new, drop, name)


def _not_worse(metric: str, old: float | None, new: float | None, drop: float, name: str) -> Line:
    if old is None or new is None:
        return False, f"{metric} of {name} or of the candidate is undefined"
    if not (math.isfinite(old) and math.isfinite(new)):
        return False, f"{metric} of {name} is {old}, that of the candidate {new}, expected finite numbers"
    lowest = old - drop
    return new >= lowest, f"{metric} {_compared(new, lowest)}: {_number(old)} of {name}, less {drop}"


def _is_finite(value: float | None) -> bool:
    return value is None or math.isfinite(value)


def _compared(value: float, floor: float) -> str:
    texts = _number(value), _number(floor)
    if texts[0] == texts[1] and value < floor:  # the rounded numbers would contradict the verdict
        texts = repr(value), repr(floor)
    return f"{texts[0]} {'>=' if value >= floor else '<'} {texts[1]}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4f}"
