"""The flows behind `patchcore promote` and `patchcore rollback`."""

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import gate
from flows.anchor import anchor_ledger
from flows.artifacts import leave_markdown
from flows.retrain import check_services
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.production import promotion
from patchcore.lifecycle.production.promotion import Rollback
from patchcore.lifecycle.production.results import GateOutcome, PromotionResult, RollbackResult
from patchcore.lifecycle.services import open_services, services_of


@flow(name="promote", flow_run_name="promote-{category}-{version}", validate_parameters=False)
def promote(
    workspace: str, category: str, version: int, reason: str, step: gate.Step = "promote", force: bool = False
) -> PromotionResult:
    """Judge a bank version by the gate and, if it passes, bring it to production.

    Args:
        workspace: The workspace's folder.
        category: The category.
        version: The bank version.
        reason: Why, in words; may be empty for an approval.
        step: Promote it, propose that to another person, or approve what another person proposed.
        force: Promote or propose it although it does not pass the gate.

    Raises:
        UnknownBank: There is no such version.
        ProductionChanged: Production changed after the bank was judged.
        UnknownProposal: The promotion to approve is not proposed.
        OwnProposal: The same person proposed it.
    """
    with services_of(workspace) as services:
        services.params.require(category)
        check_services(workspace)
        bank = bank_record(services, category, version)
        done = judge_and_promote(workspace, category, version, reason, step, force)
        return PromotionResult(
            category=category,
            bank_version=version,
            bank_sha256=bank.sha256,
            metrics=done.metrics or {},
            gate=done.gate,
            promoted=done.promoted,
            production=done.production,
            production_since=done.production_since,
            proposed=done.proposed,
            forced=done.forced,
            decision=done.decision,
            proposal=done.proposal,
            reconciled=done.reconciled,
            anchored=anchor_ledger(workspace),
        )


@task(task_run_name="gate and {step} {category} version {version}", cache_policy=NO_CACHE)
def judge_and_promote(
    workspace: str, category: str, version: int, reason: str, step: gate.Step, force: bool
) -> GateOutcome:
    """Judge a bank version now, also if it was judged before, and carry the verdict out."""
    services = open_services(workspace)
    bank = bank_record(services, category, version)
    return gate.judge_and_promote(services, category, bank, reason, step=step, force=force)


@flow(name="rollback", flow_run_name="rollback-{category}", validate_parameters=False)
def rollback(workspace: str, category: str, reason: str, to: int | None = None) -> RollbackResult:
    """Bring back the version that was in production before, or the one named.

    Raises:
        CannotRollBack: No other version was in production before, or not the one that is named.
        ProductionChanged: Another decision changed production meanwhile.
    """
    with services_of(workspace) as services:
        services.params.require(category)
        check_services(workspace)
        done, reconciled = go_back(workspace, category, reason, to)
        decision = done.decision
        return RollbackResult(
            category=category,
            from_version=decision.from_version,
            bank_version=decision.to_version,
            bank_sha256=decision.bank_sha256,
            reason=decision.reason,
            who=decision.who,
            at=decision.at,
            decision=decision.sequence,
            repeated=done.repeated,
            reconciled=tuple(reconciled),
            anchored=anchor_ledger(workspace),
        )


@task(task_run_name="roll {category} back", cache_policy=NO_CACHE)
def go_back(workspace: str, category: str, reason: str, to: int | None) -> tuple[Rollback, list[str]]:
    """Record the rollback and make MLflow follow; return it, and what had to be repaired in MLflow before."""
    services = open_services(workspace)
    reconciled = gate.reconcile(services, category)
    done = promotion.rollback(services, category, reason=reason, to=to)
    decision = done.decision
    text = f"# {category} went back from version {decision.from_version} to {decision.to_version}\n\n{reason}\n"
    leave_markdown("rollback", category, text)
    return done, reconciled
