"""The commands that change what is in production, and `patchcore reconcile`."""

from typing import Annotated, Any, Literal

import typer

from patchcore.cli.commands.options import Category, Json, Place, place_of, place_with_prefect
from patchcore.cli.display import promotion as display_promotion
from patchcore.cli.result import Outcome, finish
from patchcore.errors import Refused, UsageError

_BY_HAND = "promoted by hand"


def promote(
    category: Category,
    version: Annotated[int, typer.Argument(help="The bank version.")],
    reason: Annotated[str | None, typer.Option(help="Why; the ledger keeps it.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Although it does not pass the gate; needs --reason.")] = False,
    propose: Annotated[bool, typer.Option("--propose", help="Leave it to another person to approve.")] = False,
    approve: Annotated[bool, typer.Option("--approve", help="Carry out what another person proposed.")] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Bring a bank version to production, if it passes the gate."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.lifecycle.bank_cache import bank_record
        from patchcore.lifecycle.services import open_services

        _require_meaning(reason, force=force, propose=propose, approve=approve)
        why = reason or ("" if approve else _BY_HAND)
        services = open_services(place_with_prefect(workspace, category).root)
        bank_record(services, category, version)  # before Prefect starts: there must be one
        from flows.promote import promote as flow

        step: Literal["promote", "propose", "approve"]
        step = "approve" if approve else "propose" if propose else "promote"
        value = flow(str(services.workspace.root), category, version, why, step, force)
        production = services.ledger.production(category)
        return gated({**value, "production_since": production.since if production else None})

    return finish(work, as_json=json, show=display_promotion.judged)


def rollback(
    category: Category,
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")],
    to: Annotated[int | None, typer.Option(help="The bank version; else the one before.")] = None,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Bring back the bank version that was in production before."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.cli.preflight import require_way_back
        from patchcore.lifecycle.services import open_services

        services = open_services(place_with_prefect(workspace, category).root)
        require_way_back(services, category, reason, to)
        from flows.promote import rollback as flow

        return Outcome(flow(str(services.workspace.root), category, reason, to))

    return finish(work, as_json=json, show=display_promotion.rolled_back)


def reconcile(category: Category, json: Json = False, workspace: Place = None) -> int:
    """Let MLflow's alias, tags and runs say again what the ledger says."""

    def work() -> Outcome[dict[str, Any]]:
        place = place_of(workspace)
        from patchcore.lifecycle.evidence.anchoring import anchor_and_tell
        from patchcore.lifecycle.mlflow_events import log_events
        from patchcore.lifecycle.production import promotion
        from patchcore.lifecycle.services import open_services

        services = open_services(place.root)
        services.params.require(category)
        said = promotion.reconcile(services, category)
        for event in log_events(services, category):
            said.append(f"MLflow had no run for record {event.sequence}, {event.action}; it has one")
        production = services.ledger.production(category)
        version = production.version if production else None
        done = anchor_and_tell(services, git=False)
        return Outcome({"category": category, "production": version, "reconciled": said, "anchored": done})

    return finish(work, as_json=json, show=display_promotion.reconciled)


def gated(value: dict[str, Any]) -> Outcome[dict[str, Any]]:
    """Return how a command ends that asked the gate: refused where that says no and nobody overrode it."""
    if value["gate"]["passed"] or value["forced"]:
        return Outcome(value)
    failures = [reason.removeprefix("failed: ") for reason in value["gate"]["reasons"] if reason.startswith("failed")]
    refusal = Refused(
        f"bank version {value['bank_version']} of {value['category']} did not pass the gate",
        got="; ".join(failures),
        expected="every rule of the gate to be met",
        remedy="look at the evaluation in MLflow; production stays as it was",
    )
    return Outcome(value, refusal)


def _require_meaning(reason: str | None, *, force: bool, propose: bool, approve: bool) -> None:
    if reason is not None and not reason.strip():
        raise UsageError("--reason says nothing", got=repr(reason), expected="a few words", remedy="say why")
    if force and reason is None:
        raise UsageError("--force overrides the gate", "no reason", "--reason TEXT", "say why; the ledger keeps it")
    if approve and (propose or force):
        got = "--approve with " + ("--propose" if propose else "--force")
        remedy = "one person proposes, against the gate with --force; another one approves"
        raise UsageError("an approval carries out what was proposed", got, "--approve alone", remedy)
