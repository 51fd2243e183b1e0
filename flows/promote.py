"""A bank version to production by hand, through the gate; and back again."""

from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import gate
from flows.artifacts import leave_markdown
from flows.retrain import check_services
from patchcore.lifecycle import promotion
from patchcore.lifecycle.services import open_services


@flow(name="promote", flow_run_name="promote-{category}-{version}", validate_parameters=False)
def promote(workspace: str, category: str, version: int, reason: str) -> dict[str, Any]:
    """Judge a bank version by the gate and, if it passes, bring it to production.

    Raises:
        Refused: there is no such version, or somebody else promoted another one meanwhile.
    """
    open_services(workspace).params.require(category)
    check_services(workspace)
    return {"category": category, "bank_version": version, **judge_and_promote(workspace, category, version, reason)}


@task(task_run_name="gate and promote {category} version {version}", cache_policy=NO_CACHE)
def judge_and_promote(workspace: str, category: str, version: int, reason: str) -> dict[str, Any]:
    """Judge a bank version now, whatever was decided about it before, and carry the verdict out."""
    services = open_services(workspace)
    bank = services.registry.version(category, version)
    judged = gate.judge_and_promote(services, category, bank, reason)
    return {"bank_sha256": bank.bank_sha256, "metrics": dict(bank.metrics), **judged}


@flow(name="rollback", flow_run_name="rollback-{category}", validate_parameters=False)
def rollback(workspace: str, category: str, reason: str, to: int | None = None) -> dict[str, Any]:
    """Bring back the version that was in production before, or the one named.

    Raises:
        Refused: there is none.
    """
    open_services(workspace).params.require(category)
    check_services(workspace)
    return go_back(workspace, category, reason, to)


@task(task_run_name="roll {category} back", cache_policy=NO_CACHE)
def go_back(workspace: str, category: str, reason: str, to: int | None) -> dict[str, Any]:
    """Record the rollback and let the alias follow."""
    decision = promotion.rollback(open_services(workspace), category, reason=reason, to=to)
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
    }
