"""The commands that change what is in production, and `patchcore reconcile`."""

from typing import Annotated, Literal, TypeVar, cast

import typer

from patchcore.cli.commands.options import Category, Json, Place, opened
from patchcore.cli.display import production as display
from patchcore.cli.result import Outcome, finish
from patchcore.config.pipeline import check_pipeline
from patchcore.errors import ContradictingOptions, GateRefused, MissingReason
from patchcore.lifecycle.production.results import PromotionResult, ReconcileResult, RetrainResult, RollbackResult

_BY_HAND = "promoted by hand"
_Gated = TypeVar("_Gated", RetrainResult, PromotionResult)


def retrain(
    category: Category,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build the bank from nothing; do not grow it.")] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Validate, extract, build, evaluate, register, and promote the bank if it passes the gate."""

    def work() -> Outcome[RetrainResult]:
        with opened(workspace, category) as services:
            check_pipeline(services.workspace)  # before Prefect starts, which takes seconds
            from flows.retrain import retrain as flow

            result = flow(str(services.workspace.root), category, rebuild=rebuild)
            return gated(cast(RetrainResult, result))  # only a scheduled run may be skipped

    return finish(work, as_json=json, show=display.retrained)


def promote(
    category: Category,
    version: Annotated[int, typer.Argument(help="The bank version.")],
    reason: Annotated[str | None, typer.Option(help="Why; the ledger keeps it.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Promote it although it does not pass the gate; needs --reason.")
    ] = False,
    propose: Annotated[bool, typer.Option("--propose", help="Leave the approval to another person.")] = False,
    approve: Annotated[bool, typer.Option("--approve", help="Approve what another person proposed.")] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Bring a bank version to production, if it passes the gate."""

    def work() -> Outcome[PromotionResult]:
        from patchcore.lifecycle.bank_cache import bank_record
        from patchcore.lifecycle.production.checks import check_approval

        _check_options(reason, force=force, propose=propose, approve=approve)
        why = reason or ("" if approve else _BY_HAND)
        step: Literal["promote", "propose", "approve"]
        step = "approve" if approve else "propose" if propose else "promote"
        with opened(workspace, category) as services:
            bank_record(services, category, version)
            if approve:
                check_approval(services, category, version)
            from flows.promote import promote as flow

            return gated(flow(str(services.workspace.root), category, version, why, step, force))

    return finish(work, as_json=json, show=display.promoted)


def rollback(
    category: Category,
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")],
    to: Annotated[int | None, typer.Option(help="The bank version; else the one before.")] = None,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Bring back the bank version that was in production before."""

    def work() -> Outcome[RollbackResult]:
        from patchcore.lifecycle.production.checks import check_rollback
        from patchcore.lifecycle.services import who

        with opened(workspace, category) as services:
            check_rollback(category, services.ledger.history(category), reason=reason, to=to, user=who())
            from flows.promote import rollback as flow

            return Outcome(flow(str(services.workspace.root), category, reason, to))

    return finish(work, as_json=json, show=display.rolled_back)


def reconcile(category: Category, json: Json = False, workspace: Place = None) -> int:
    """Repair MLflow so that it matches the ledger: alias, tags and runs."""

    def work() -> Outcome[ReconcileResult]:
        from patchcore.lifecycle.evidence.anchoring import anchor_after_change
        from patchcore.lifecycle.production.reconciliation import reconcile_all

        with opened(workspace, category) as services:
            repaired = reconcile_all(services, category)
            production = services.ledger.production(category)
            return Outcome(
                ReconcileResult(
                    category=category,
                    production=production.version if production else None,
                    reconciled=tuple(repaired),
                    anchored=anchor_after_change(services, git=False),
                )
            )

    return finish(work, as_json=json, show=display.reconciled)


def gated(result: _Gated) -> Outcome[_Gated]:
    """Return the outcome of a command that asked the gate: refused if the bank did not pass and was not forced."""
    if result.gate.passed or result.forced:
        return Outcome(result)
    refusal = GateRefused(
        f"bank version {result.bank_version} of {result.category} did not pass the gate",
        got="; ".join(result.gate.failures),
        expected="every rule of the gate to be met",
        remedy="look at the evaluation in MLflow; production stays as it was",
    )
    return Outcome(result, refusal)


def _check_options(reason: str | None, *, force: bool, propose: bool, approve: bool) -> None:
    """Check the options of promote.

    Raises:
        MissingReason: A reason is empty, or --force has none.
        ContradictingOptions: --approve is given with --propose or --force.
    """
    if reason is not None and not reason.strip():
        raise MissingReason("--reason is empty", got=repr(reason), expected="a few words", remedy="say why")
    if force and reason is None:
        raise MissingReason("--force overrides the gate", "no reason", "--reason TEXT", "say why; the ledger keeps it")
    if approve and (propose or force):
        got = "--approve with " + ("--propose" if propose else "--force")
        remedy = "one person proposes, against the gate with --force; another person approves"
        raise ContradictingOptions("an approval carries out what was proposed", got, "--approve alone", remedy)
