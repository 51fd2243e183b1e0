"""The gate: metrics, rules and the incumbent in, a verdict with every reason out. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """What a candidate must reach; floors on pixel metrics hold where there are masks."""

    image_auroc_at_least: float
    pixel_auroc_at_least: float
    aupro_at_least: float
    normals_at_least: int
    defects_at_least: int
    image_auroc_drop_at_most: float


@dataclass(frozen=True)
class Evaluation:
    """What was measured of a bank.

    Attributes:
        metrics: by name; None where there are no masks.
        normals: normal images in the evaluation set.
        defects: defective images in it.
        evaluation_sha256: which evaluation set it was.
    """

    metrics: Mapping[str, float | None]
    normals: int
    defects: int
    evaluation_sha256: str


@dataclass(frozen=True)
class Incumbent:
    """The bank in production, measured."""

    version: int
    evaluation: Evaluation


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
        >>> rules = Rules(0.9, 0.9, 0.8, normals_at_least=10, defects_at_least=10, image_auroc_drop_at_most=0.01)
        >>> metrics = {"image_auroc": 0.87, "pixel_auroc": None, "aupro": None}
        >>> verdict = judge(Evaluation(metrics, normals=20, defects=12, evaluation_sha256="00"), rules, incumbent=None)
        >>> verdict.passed, verdict.failures
        (False, ('failed: image_auroc 0.8700 < 0.9000',))
    """
    lines = [
        *_floors(candidate, rules),
        _line("normal evaluation images", candidate.normals, rules.normals_at_least),
        _line("defective evaluation images", candidate.defects, rules.defects_at_least),
        *_against(candidate, rules, incumbent),
    ]
    return Verdict(all(met for met, _ in lines), tuple(f"{'met' if met else 'failed'}: {text}" for met, text in lines))


def _floors(candidate: Evaluation, rules: Rules) -> list[tuple[bool, str]]:
    floors = {
        "image_auroc": rules.image_auroc_at_least,
        "pixel_auroc": rules.pixel_auroc_at_least,
        "aupro": rules.aupro_at_least,
    }
    return [_floor(name, candidate.metrics, floor) for name, floor in floors.items()]


def _floor(name: str, metrics: Mapping[str, float | None], floor: float) -> tuple[bool, str]:
    if name not in metrics:
        return False, f"{name} is missing, expected at least {floor}"
    value = metrics[name]
    if value is None:
        if name == "image_auroc":
            return False, f"{name} is undefined, expected at least {floor}"
        return True, f"{name} has no masks to be measured on"
    if not math.isfinite(value):
        return False, f"{name} is {value}, expected a finite number"
    return _line(name, value, floor)


def _line(name: str, value: float, floor: float) -> tuple[bool, str]:
    sign = ">=" if value >= floor else "<"
    return value >= floor, f"{name} {_number(value)} {sign} {_number(floor)}"


def _against(candidate: Evaluation, rules: Rules, incumbent: Incumbent | None) -> list[tuple[bool, str]]:
    if incumbent is None:
        return [(True, "no bank in production to compare with")]
    name = f"version {incumbent.version} in production"
    if incumbent.evaluation.evaluation_sha256 != candidate.evaluation_sha256:
        return [(False, f"{name} was measured on another evaluation set")]
    old, new = incumbent.evaluation.metrics.get("image_auroc"), candidate.metrics.get("image_auroc")
    if old is None or new is None:
        return [(False, f"image_auroc of {name} or of the candidate is undefined")]
    lowest = old - rules.image_auroc_drop_at_most
    sign = ">=" if new >= lowest else "<"
    drop = rules.image_auroc_drop_at_most
    return [
        (new >= lowest, f"image_auroc {_number(new)} {sign} {_number(lowest)}: {_number(old)} of {name}, less {drop}")
    ]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4f}"
