"""Judge one bank version by the gate, carry the verdict out, and show it in Prefect."""

import sys
from typing import Literal

from flows.artifacts import leave_markdown
from patchcore.adapters.ledger.records import BankRecord
from patchcore.lifecycle.pages import verdict_page
from patchcore.lifecycle.production import promotion, reconciliation
from patchcore.lifecycle.production.gating import judge
from patchcore.lifecycle.production.promotion import Promotion
from patchcore.lifecycle.production.results import GateOutcome, gate_result
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
) -> GateOutcome:
    """Judge a bank version and carry the verdict out.

    Args:
        services: The opened workspace.
        category: The category.
        bank: The bank version.
        reason: Why, in words; may be empty for an approval.
        step: Promote it, propose that, or approve what another person proposed.
        force: Promote or propose it although it does not pass the gate.

    Raises:
        ProductionChanged: Production changed after the bank was judged.
        UnknownProposal: The promotion to approve is not proposed.
        OwnProposal: The same person proposed it.
        InvalidBank: The bank is damaged.
    """
    reconciled = reconcile(services, category)
    judgement = judge(services, category, bank)
    if step == "approve":
        done = promotion.approve(services, category, bank, judgement, reason=reason)
    else:
        propose = step == "propose"
        done = promotion.promote(services, category, bank, judgement, reason=reason, force=force, propose=propose)
    metrics, decision = judgement.record.metrics, done.decision
    leave_markdown("gate", category, verdict_page(category, bank.version, done.verdict, _words(done), metrics))
    return GateOutcome(
        gate=gate_result(done.verdict),
        metrics=metrics,
        promoted=done.promoted,
        production=done.production.version if done.production else None,
        production_since=done.production.since if done.production else None,
        proposed=done.proposed,
        forced=done.forced,
        decision=decision.sequence if decision else None,
        proposal=decision.proposal if decision else None,
        reconciled=tuple(reconciled),
    )


def reconcile(services: Services, category: str) -> list[str]:
    """Repair MLflow so that it matches the ledger; write each repair to stderr, and all of them to a page in Prefect.

    Raises:
        UnknownBank: MLflow has lost the version in production.
        RegistryUnavailable: MLflow does not answer.
    """
    repaired = reconciliation.reconcile(services, category)
    for line in repaired:
        sys.stderr.write(f"reconciled: {line}\n")
    if repaired:
        lines = "\n".join(f"- {line}" for line in repaired)
        leave_markdown("reconcile", category, f"# MLflow did not match the ledger and was repaired\n\n{lines}\n")
    return repaired


def _words(done: Promotion) -> str:
    against = f" Forced by {done.decision.who}: {done.decision.reason}" if done.decision and done.forced else ""
    if done.proposed:
        return f"Version {done.bank.version} is proposed and waits for the approval of another person.{against}"
    if done.promoted:
        return f"Version {done.bank.version} is in production.{against}"
    return "Production stays as it was."
