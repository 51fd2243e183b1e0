"""The JSON form of a verdict: what the ledger stores, so that a reader can compute the same verdict again."""

import math
from collections.abc import Mapping
from dataclasses import asdict

from patchcore._util.model import Model
from patchcore.evaluation.gate import Evaluation, Incumbent, Rule, Rules, Verdict

Number = int | float | str | None
"""A number as JSON can hold it: NaN and the infinities are text."""


class RuleRecord(Model):
    """One rule as it was judged; see `patchcore.evaluation.gate.JudgedRule`.

    Attributes:
        rule: the rule's name.
        met: whether the candidate met it.
        value: what was measured of the candidate; null where there was nothing to measure.
        limit: the lowest value that meets the rule; null where the rule is not about a limit.
        text: the same in words.
    """

    rule: Rule
    met: bool
    value: Number
    limit: int | float | None
    text: str


class MeasuredIncumbent(Model):
    """The bank that was in production, and its metrics on the candidate's evaluation set."""

    version: int
    metrics: dict[str, Number]


class UnmeasuredIncumbent(Model):
    """The bank that was in production, and the reason why it was not measured."""

    version: int
    trouble: str


class VerdictRecord(Model):
    """A verdict and everything that it follows from.

    Attributes:
        passed: whether every rule was met.
        reasons: every rule in words.
        judged: every rule.
        metrics: of the candidate, by name; null where a metric is undefined.
        normals: normal images in the evaluation set.
        defects: defective images in it.
        evaluation_sha256: the digest of the evaluation set.
        rules: the limits of params.yaml, by their names there.
        incumbent: the bank in production; null where there was none.
    """

    passed: bool
    reasons: tuple[str, ...]
    judged: tuple[RuleRecord, ...]
    metrics: dict[str, Number]
    normals: int
    defects: int
    evaluation_sha256: str
    rules: dict[str, float | int]
    incumbent: MeasuredIncumbent | UnmeasuredIncumbent | None

    def agrees_with(self, stored: Mapping[str, object]) -> bool:
        """Say whether a stored verdict is the same: the same evaluation set, limits and outcome of every rule.

        Args:
            stored: the JSON object in the ledger. Version 0.1 stored the rules in words only.
        """
        now = self.model_dump(mode="json")
        compared = ("evaluation_sha256", "rules", "judged" if "judged" in stored else "reasons")
        return all(now[name] == stored.get(name) for name in compared)


def verdict_record(rules: Rules, candidate: Evaluation, incumbent: Incumbent | None, verdict: Verdict) -> VerdictRecord:
    """Return a verdict as it is recorded, with everything that it follows from."""
    return VerdictRecord(
        passed=verdict.passed,
        reasons=verdict.reasons,
        judged=rule_records(verdict),
        metrics=finite_or_text(candidate.metrics),
        normals=candidate.normals,
        defects=candidate.defects,
        evaluation_sha256=candidate.evaluation_sha256,
        rules=asdict(rules),
        incumbent=None if incumbent is None else _incumbent_record(incumbent),
    )


def rule_records(verdict: Verdict) -> tuple[RuleRecord, ...]:
    """Return every rule of a verdict as it is recorded."""
    return tuple(
        RuleRecord(rule=each.rule, met=each.met, value=_as_json(each.value), limit=each.limit, text=each.text)
        for each in verdict.rules
    )


def finite_or_text(metrics: Mapping[str, float | None]) -> dict[str, Number]:
    """Return metrics as JSON can hold them: NaN and the infinities as text."""
    return {name: _as_json(value) for name, value in metrics.items()}


def _as_json(value: float | None) -> Number:
    return value if value is None or math.isfinite(value) else str(value)


def _incumbent_record(incumbent: Incumbent) -> MeasuredIncumbent | UnmeasuredIncumbent:
    measured = incumbent.evaluation
    if isinstance(measured, str):
        return UnmeasuredIncumbent(version=incumbent.version, trouble=measured)
    return MeasuredIncumbent(version=incumbent.version, metrics=finite_or_text(measured.metrics))
