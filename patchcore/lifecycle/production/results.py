"""What the commands that change production report: retrain, promote, rollback and reconcile."""

from collections.abc import Mapping, Sequence

from pydantic import TypeAdapter, ValidationError

from patchcore._util.model import Model
from patchcore.evaluation.gate import Verdict
from patchcore.evaluation.verdict_record import Number, RuleRecord, rule_records
from patchcore.lifecycle.anchor_result import AnchorResult

_RULES = TypeAdapter(tuple[RuleRecord, ...])


class GateResult(Model):
    """The verdict of the gate.

    Attributes:
        passed: Whether every rule is met.
        reasons: Every rule in words, each with ``met: `` or ``failed: `` before it.
        rules: Every rule as data; empty for a verdict that version 0.1 recorded, which has the words only.
    """

    passed: bool
    reasons: tuple[str, ...]
    rules: tuple[RuleRecord, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """The rules that are not met, in words; of a verdict without rules, all its reasons."""
        return tuple(rule.text for rule in self.rules if not rule.met) if self.rules else self.reasons


class GateOutcome(Model):
    """What the gate decided about a bank version, and what is in production after that.

    Attributes:
        gate: The verdict.
        metrics: What the verdict was reached from, by name; null if the bank was not judged again.
        promoted: Whether this command brought the version to production.
        production: The version in production now; null if there is none.
        production_since: When that version came to production, UTC in ISO 8601; null if there is none.
        proposed: Whether the version waits for the approval of another person.
        forced: Whether it was promoted or proposed although it did not pass the gate.
        decision: The number of the ledger's record of this decision; null if nothing was decided.
        proposal: The number of the record of the proposal that this decision approves; null if there is none.
        reconciled: What was repaired in MLflow so that it matches the ledger, a line each.
    """

    gate: GateResult
    metrics: dict[str, Number] | None
    promoted: bool
    production: int | None
    production_since: str | None
    proposed: bool
    forced: bool
    decision: int | None
    proposal: int | None
    reconciled: tuple[str, ...]


class PromotionResult(Model):
    """What `patchcore promote` did.

    Attributes:
        category: The category.
        bank_version: The bank version that was judged.
        bank_sha256: Its digest.
        metrics: What the verdict was reached from, by name; null where a metric is undefined.
        gate: The verdict.
        promoted: Whether this command brought the version to production.
        production: The version in production now; null if there is none.
        production_since: When that version came to production, UTC in ISO 8601; null if there is none.
        proposed: Whether the version waits for the approval of another person.
        forced: Whether it was promoted or proposed although it did not pass the gate.
        decision: The number of the ledger's record of this decision; null if nothing was decided.
        proposal: The number of the record of the proposal that this decision approves; null if there is none.
        reconciled: What was repaired in MLflow so that it matches the ledger, a line each.
        anchored: The anchor that was written after the decision.
    """

    category: str
    bank_version: int
    bank_sha256: str
    metrics: dict[str, Number]
    gate: GateResult
    promoted: bool
    production: int | None
    production_since: str | None
    proposed: bool
    forced: bool
    decision: int | None
    proposal: int | None
    reconciled: tuple[str, ...]
    anchored: AnchorResult


class RetrainResult(Model):
    """What `patchcore retrain` did.

    Attributes:
        category: The category.
        dataset_version: The number of the data-set version that the bank was built from.
        dataset_sha256: The digest of its manifest.
        bank_version: The bank version.
        bank_sha256: Its digest.
        run_id: The MLflow run that has the bank.
        metrics: What was measured of the bank, by name; null where a metric is undefined.
        threshold: The score above which an image is anomalous.
        new: Whether this command registered the bank; false if its bytes were registered before.
        gate: The verdict.
        promoted: Whether this command brought the version to production.
        production: The version in production now; null if there is none.
        proposed: Whether the version waits for the approval of another person.
        forced: Whether it was promoted or proposed although it did not pass the gate.
        decision: The number of the ledger's record of this decision; null if nothing was decided.
        proposal: The number of the record of the proposal that this decision approves; null if there is none.
        reconciled: What was repaired in MLflow so that it matches the ledger, a line each.
        anchored: The anchor that was written after the decision.
    """

    category: str
    dataset_version: int
    dataset_sha256: str
    bank_version: int
    bank_sha256: str
    run_id: str
    metrics: dict[str, Number]
    threshold: float
    new: bool
    gate: GateResult
    promoted: bool
    production: int | None
    proposed: bool
    forced: bool
    decision: int | None
    proposal: int | None
    reconciled: tuple[str, ...]
    anchored: AnchorResult


class RetrainSkipped(Model):
    """A scheduled retrain that had nothing to do.

    Attributes:
        category: The category.
        promoted: False.
        new: False.
        reason: Why there is nothing to do.
    """

    category: str
    promoted: bool = False
    new: bool = False
    reason: str


class RollbackResult(Model):
    """What `patchcore rollback` did.

    Attributes:
        category: The category.
        from_version: The bank version that was in production before; null if there was none.
        bank_version: The bank version that is in production now.
        bank_sha256: Its digest.
        reason: Why, in words.
        who: Who decided.
        at: When, UTC in ISO 8601.
        decision: The number of the ledger's record.
        repeated: Whether an earlier command made this decision: by the same person, for the same reason.
        reconciled: What was repaired in MLflow so that it matches the ledger, a line each.
        anchored: The anchor that was written after the decision.
    """

    category: str
    from_version: int | None
    bank_version: int
    bank_sha256: str
    reason: str
    who: str
    at: str
    decision: int
    repeated: bool
    reconciled: tuple[str, ...]
    anchored: AnchorResult


class ReconcileResult(Model):
    """What `patchcore reconcile` did.

    Attributes:
        category: The category.
        production: The bank version in production; null if there is none.
        reconciled: What was repaired in MLflow so that it matches the ledger, a line each.
        anchored: The anchor that was written after that.
    """

    category: str
    production: int | None
    reconciled: tuple[str, ...]
    anchored: AnchorResult


def gate_result(verdict: Verdict) -> GateResult:
    """Return a verdict as a command reports it."""
    return GateResult(passed=verdict.passed, reasons=verdict.reasons, rules=rule_records(verdict))


def recorded_gate_result(stored: Mapping[str, object]) -> GateResult:
    """Return a verdict that the ledger keeps as a command reports it.

    Args:
        stored: The JSON object of a decision; empty where the gate was not asked, as for a rollback.
    """
    reasons = stored.get("reasons")
    try:
        rules = _RULES.validate_python(stored.get("judged", ()), strict=False)
    except ValidationError:  # changed by hand: `patchcore audit verify` says so
        rules = ()
    return GateResult(
        passed=stored.get("passed") is True,
        reasons=tuple(map(str, reasons)) if isinstance(reasons, Sequence) else (),
        rules=rules,
    )
