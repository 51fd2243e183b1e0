"""One bank version before the gate: judged, the verdict carried out, and shown."""

import sys
from typing import Any, Literal

from flows.artifacts import leave_markdown
from patchcore.adapters.ledger.records import BankRecord
from patchcore.evaluation.gate import Verdict
from patchcore.lifecycle.pages import verdict_page
from patchcore.lifecycle.production import promotion
from patchcore.lifecycle.production.promotion import Promotion
from patchcore.lifecycle.services import Services

Step = Literal["promote", "propose", "approve"]


def judge_and_promote(
    services: Services,
    category: str,
    bank: BankRecord,
    reason: str,
    *,
    step: Step = "promote",
    force: bool = False,
) -> dict[str, Any]:
    """Judge a bank version and carry the verdict out, by the names of the command's contract.

    Args:
        services: the opened workspace.
        category: the category.
        bank: the bank version.
        reason: why, in words; an approval needs none of its own.
        step: promote it, propose that, or approve what another person proposed.
        force: promote or propose it although it does not pass the gate.

    Raises:
        Refused: production changed meanwhile, the bank cannot be used, or what is to be approved does not stand.
    """
    reconciled = reconcile(services, category)
    judgement = promotion.judge(services, category, bank)
    if step == "approve":
        done = promotion.approve(services, category, bank, judgement, reason=reason)
    else:
        propose = step == "propose"
        done = promotion.promote(services, category, bank, judgement, reason=reason, force=force, propose=propose)
    metrics: dict[str, Any] = dict(judgement.record["metrics"])
    leave_markdown("gate", category, verdict_page(category, bank.version, done.verdict, _words(done), metrics))
    return {"metrics": metrics, **_outcome(done), "reconciled": reconciled}


def outcome(
    verdict: Verdict, *, promoted: bool, production: int | None, proposed: bool = False, forced: bool = False
) -> dict[str, Any]:
    """Return a verdict by the names of the command's contract."""
    gate = {"passed": verdict.passed, "reasons": list(verdict.reasons)}
    return {"gate": gate, "promoted": promoted, "production": production, "proposed": proposed, "forced": forced}


def reconcile(services: Services, category: str) -> list[str]:
    """Let the registry say what the ledger says; where it did not, say so on stderr and in Prefect.

    Raises:
        Refused: the registry has lost the version in production.
        Fault: the registry does not answer.
    """
    said = promotion.reconcile(services, category)
    for line in said:
        sys.stderr.write(f"reconciled: {line}\n")
    if said:
        lines = "\n".join(f"- {line}" for line in said)
        leave_markdown("reconcile", category, f"# The registry did not say what the ledger says\n\n{lines}\n")
    return said


def _outcome(done: Promotion) -> dict[str, Any]:
    production = done.production.version if done.production else None
    decision = done.decision
    return {
        **outcome(
            done.verdict, promoted=done.promoted, production=production, proposed=done.proposed, forced=done.forced
        ),
        "decision": decision.sequence if decision else None,
        "proposal": decision.proposal if decision else None,
    }


def _words(done: Promotion) -> str:
    against = f" Forced by {done.decision.who}: {done.decision.reason}" if done.decision and done.forced else ""
    if done.proposed:
        return f"Version {done.bank.version} is proposed, for another person to approve.{against}"
    if done.promoted:
        return f"Version {done.bank.version} is in production.{against}"
    return "Production stays as it was."
