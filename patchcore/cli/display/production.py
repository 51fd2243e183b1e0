"""What retrain, promote, rollback and reconcile print."""

from patchcore.cli.display.lifecycle import bank_rows, metric_rows
from patchcore.cli.display.terminal import moment, number, say, show_pairs, show_table
from patchcore.lifecycle.production.results import (
    GateResult,
    PromotionResult,
    ReconcileResult,
    RetrainResult,
    RollbackResult,
)


def retrained(result: RetrainResult) -> None:
    """Show a bank version and the verdict of the gate."""
    metrics = result.metrics
    show_pairs(
        f"{result.category}, bank version {result.bank_version} from data-set version {result.dataset_version}"
        + ("" if result.new else " (nothing new)"),
        [
            ("bank", result.bank_sha256[:16]),
            *metric_rows(metrics),
            ("threshold", number(result.threshold)),
            ("bank rows", bank_rows(int(metrics["bank_rows"] or 0), metrics)),
            ("every patch within", f"{number(float(metrics['covering_radius'] or 0))} of a row"),
        ],
    )
    _show_gate(result.gate, forced=result.forced)
    _show_proposal(result)
    _show_production(result.production)


def promoted(result: PromotionResult) -> None:
    """Show the verdict of the gate, and what is in production after it."""
    _show_gate(result.gate, forced=result.forced)
    _show_proposal(result)
    production, since = result.production, result.production_since
    if since and result.decision is None and production == result.bank_version:
        say(f"version {production} is in production already, since {moment(since)}, nothing to decide")
    else:
        _show_production(production)


def rolled_back(result: RollbackResult) -> None:
    """Show a rollback."""
    say(f"{result.category}: version {result.bank_version} is in production, after {result.from_version}")
    if result.repeated:
        say(f"that was done at {moment(result.at)} already, for this reason; to go further back: --to VERSION")


def reconciled(result: ReconcileResult) -> None:
    """Show what was repaired in MLflow."""
    for line in result.reconciled:
        say(f"reconciled: {line}")
    production = "nothing" if result.production is None else f"version {result.production}"
    now = "now matches" if result.reconciled else "matches"
    say(f"{result.category}: {production} is in production; MLflow {now} the ledger")


def _show_gate(gate: GateResult, *, forced: bool) -> None:
    title = f"gate: {'passed' if gate.passed else 'not passed'}{', overridden by force' if forced else ''}"
    if gate.rules:
        rows = [("met" if rule.met else "failed", rule.text) for rule in gate.rules]
        show_table(title, ("", ""), rows, header=False)
    else:
        show_table(title, ("",), [(reason,) for reason in gate.reasons], header=False)


def _show_proposal(result: RetrainResult | PromotionResult) -> None:
    if result.proposed:
        command = f"patchcore promote {result.category} {result.bank_version} --approve"
        say(f"proposed; another person approves it with: {command}")


def _show_production(version: int | None) -> None:
    say(f"in production: {'nothing' if version is None else f'version {version}'}")
