"""`patchcore audit`: questions about the past."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import display
from flows.cli_options import Category, Json, Place, place_of
from flows.outcome import Outcome, finish
from patchcore.errors import Refused

audit_app = typer.Typer(help="Questions about the past, answered from the ledger.", no_args_is_help=True)


@audit_app.command("batch")
def audit_batch(batch: str, json: Json = False, workspace: Place = None) -> int:
    """Say which bank version scored a batch, and which data-set version that bank came from."""
    return _ask(lambda audit, services: audit.batch(services, batch), workspace, json, display.audited_batch)


@audit_app.command("image")
def audit_image(
    image: Annotated[str, typer.Argument(help="The image's sha256, or the file.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Show every scoring of an image."""
    return _ask(lambda audit, services: audit.image(services, image), workspace, json, display.audited_image)


@audit_app.command("bank")
def audit_bank(category: Category, version: int, json: Json = False, workspace: Place = None) -> int:
    """Show the batches that a bank version scored: what a recall needs."""
    return _ask(lambda audit, services: audit.bank(services, category, version), workspace, json, display.audited_bank)


@audit_app.command("at")
def audit_at(
    category: Category,
    time: Annotated[str, typer.Argument(help="Such as 2026-11-22T02:13; UTC unless it says otherwise.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Say which bank version was in production at a time."""
    return _ask(lambda audit, services: audit.at(services, category, time), workspace, json, display.audited_time)


@audit_app.command("verify")
def audit_verify(json: Json = False, workspace: Place = None) -> int:
    """Check that the ledger is whole."""

    def work() -> Outcome:
        from patchcore.lifecycle import audit
        from patchcore.lifecycle.services import open_services

        value = asdict(audit.verify(open_services(place_of(workspace).root)))
        refusal = None if value["ok"] else _unsound(value["problems"])
        return Outcome(value, refusal)

    return finish(work, as_json=json, show=display.verified)


def _ask(
    question: Callable[[Any, Any], dict[str, Any]],
    workspace: Path | None,
    as_json: bool,
    show: Callable[[dict[str, Any]], None],
) -> int:
    def work() -> Outcome:
        from patchcore.lifecycle import audit
        from patchcore.lifecycle.services import open_services

        return Outcome(question(audit, open_services(place_of(workspace).root)))

    return finish(work, as_json=as_json, show=show)


def _unsound(problems: list[str]) -> Refused:
    return Refused("the ledger is not sound", got="; ".join(problems)[:500], expected="no problem", remedy="restore it")
