"""A bank version to production by hand, through the gate; and back again."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import gate
from flows.anchor import anchor_ledger
from flows.artifacts import leave_markdown
from flows.retrain import check_services
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.production import promotion
from patchcore.lifecycle.services import open_services


@flow(name="promote", flow_run_name="promote-{category}-{version}", validate_parameters=False)
def promote(
    workspace: str, category: str, version: int, reason: str, step: gate.Step = "promote", force: bool = False
) -> dict[str, Any]:
    """Judge a bank version by the gate and, if it passes, bring it to production.

    Args:
        workspace: the workspace's folder.
        category: the category.
        version: the bank version.
        reason: why, in words; an approval needs none of its own.
        step: promote it, propose that to another person, or approve what another person proposed.
        force: promote or propose it although it does not pass the gate.

    Raises:
        Refused: there is no such version, somebody else promoted another one meanwhile, or no proposal stands.
    """
    open_services(workspace).params.require(category)
    check_services(workspace)
    judged = judge_and_promote(workspace, category, version, reason, step, force)
    return {"category": category, "bank_version": version, **judged, "anchored": anchor_ledger(workspace)}


@task(task_run_name="gate and {step} {category} version {version}", cache_policy=NO_CACHE)
def judge_and_promote(
    workspace: str, category: str, version: int, reason: str, step: gate.Step, force: bool
) -> dict[str, Any]:
    """Judge a bank version now, whatever was decided about it before, and carry the verdict out."""
    services = open_services(workspace)
    bank = bank_record(services, category, version)
    judged = gate.judge_and_promote(services, category, bank, reason, step=step, force=force)
    return {"bank_sha256": bank.sha256, **judged}


@flow(name="rollback", flow_run_name="rollback-{category}", validate_parameters=False)
def rollback(workspace: str, category: str, reason: str, to: int | None = None) -> dict[str, Any]:
    """Bring back the version that was in production before, or the one named.

    Raises:
        Refused: there is none.
    """
    open_services(workspace).params.require(category)
    check_services(workspace)
    return {**go_back(workspace, category, reason, to), "anchored": anchor_ledger(workspace)}


@task(task_run_name="roll {category} back", cache_policy=NO_CACHE)
def go_back(workspace: str, category: str, reason: str, to: int | None) -> dict[str, Any]:
    """Record the rollback and let the registry follow."""
    services = open_services(workspace)
    reconciled = gate.reconcile(services, category)
    done = promotion.rollback(services, category, reason=reason, to=to)
    decision = done.decision
    text = f"# {category} went back from version {decision.from_version} to {decision.to_version}\n\n{reason}\n"
    leave_markdown("rollback", category, text)
    return {
        "category": category,
        "from_version": decision.from_version,
        "bank_version": decision.to_version,
        "bank_sha256": decision.bank_sha256,
        "reason": decision.reason,
        "who": decision.who,
        "at": decision.at,
        "decision": decision.sequence,
        "repeated": done.repeated,
        "reconciled": reconciled,
    }
