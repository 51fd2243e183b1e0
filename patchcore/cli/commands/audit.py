"""`patchcore audit`: questions about the past."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from patchcore.cli.commands import evidence as cli_evidence
from patchcore.cli.commands import replay as cli_replay
from patchcore.cli.commands.options import Category, Json, Place, place_of
from patchcore.cli.display import audit as display
from patchcore.cli.display import banks as display_banks
from patchcore.cli.display import history as display_history
from patchcore.cli.result import Outcome, finish
from patchcore.errors import Refused

Batch = Annotated[str, typer.Argument(help="The batch's name.")]
Scoring = Annotated[int | None, typer.Option(help="Which scoring of the batch; else the last.")]
Image = Annotated[str, typer.Argument(help="The image's sha256, or the file.")]
Version = Annotated[int, typer.Argument(help="A bank version.")]
Fetch = Annotated[bool, typer.Option("--fetch", help="Read banks that are not unpacked here from the registry.")]

audit_app = typer.Typer(help="Questions about the past, answered from the ledger.", no_args_is_help=True)
for command in (cli_evidence.verify, cli_evidence.export, cli_evidence.archive, cli_evidence.anchor):
    audit_app.command()(command)
for question in (cli_replay.replay, cli_replay.explain):
    audit_app.command()(question)


@audit_app.command("batch")
def audit_batch(
    batch: Batch,
    scoring: Scoring = None,
    images: Annotated[
        bool,
        typer.Option("--images", help="List the bank's data-set images too, not the batch's own alone."),
    ] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Say which bank version scored a batch, and which data-set version that bank came from."""
    return _ask(
        lambda audit, services: audit.batch(services, batch, scoring, images=images),
        workspace,
        json,
        display.batch,
    )


@audit_app.command("dataset")
def audit_dataset(
    category: Category,
    number: Annotated[int, typer.Argument(help="The data-set version.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """List the images of a data-set version, and the banks that were built from it."""
    return _ask(lambda audit, services: audit.dataset(services, category, number), workspace, json, display.dataset)


@audit_app.command("image")
def audit_image(image: Image, json: Json = False, workspace: Place = None) -> int:
    """Show every scoring of an image."""
    return _ask(lambda audit, services: audit.image(services, image), workspace, json, display.image)


@audit_app.command("normal")
def audit_normal(image: Image, fetch: Fetch = False, json: Json = False, workspace: Place = None) -> int:
    """Show which banks a normal image is in, and which batches they scored: the recall of a bad image."""
    return _ask(
        lambda audit, services: audit.normal(services, image, fetch=fetch), workspace, json, display_banks.normal
    )


@audit_app.command("bank")
def audit_bank(
    category: Category, version: Version, fetch: Fetch = False, json: Json = False, workspace: Place = None
) -> int:
    """Show the batches that a bank version scored: what a recall needs."""
    return _ask(
        lambda audit, services: audit.bank(services, category, version, fetch=fetch),
        workspace,
        json,
        display_banks.bank,
    )


@audit_app.command("compare")
def audit_compare(
    category: Category, first: Version, second: Version, json: Json = False, workspace: Place = None
) -> int:
    """Show where two bank versions disagree about the images of batches that both scored."""
    return _ask(
        lambda audit, services: audit.compare(services, category, first, second),
        workspace,
        json,
        display_banks.compare,
    )


@audit_app.command("at")
def audit_at(
    category: Category,
    time: Annotated[str, typer.Argument(help="Such as 2026-11-22T02:13; UTC unless it says otherwise.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Say which bank version was in production at a time, and by whose decision."""
    return _ask(lambda audit, services: audit.at(services, category, time), workspace, json, display_history.at)


@audit_app.command("history")
def audit_history(category: Category, json: Json = False, workspace: Place = None) -> int:
    """Show every decision about a category and every withdrawal: who, when, from which bank to which, and why."""
    return _ask(lambda audit, services: audit.history(services, category), workspace, json, display_history.history)


@audit_app.command("completeness")
def audit_completeness(
    batch: Batch,
    scoring: Scoring = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the batch's files are now; else where they were, if they still are.")
    ] = None,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Check that every image of a batch is recorded, and that its files are those that were recorded."""
    return _ask(
        lambda audit, services: audit.completeness(services, batch, scoring, folder),
        workspace,
        json,
        display.completeness,
        _incomplete,
    )


def _ask(
    question: Callable[[Any, Any], dict[str, Any]],
    workspace: Path | None,
    as_json: bool,
    show: Callable[[dict[str, Any]], None],
    refuse: Callable[[dict[str, Any]], Refused | None] = lambda _: None,
) -> int:
    def work() -> Outcome[dict[str, Any]]:
        from patchcore.lifecycle import audit
        from patchcore.lifecycle.services import open_services

        value = question(audit, open_services(place_of(workspace).root))
        return Outcome(value, refuse(value))

    return finish(work, as_json=as_json, show=show)


def _incomplete(value: dict[str, Any]) -> Refused | None:
    if value["complete"]:
        return None
    words = [f"{entry['path'] or 'the batch'}: {entry['problem']}" for entry in value["problems"]]
    return Refused(
        f"batch {value['batch']} is not complete",
        got="; ".join(words[:3]) + (f"; and {len(words) - 3} more" if len(words) > 3 else ""),
        expected="every file recorded, and every record's file as it was",
        remedy="bring the files back, or name their folder with --folder; the records: patchcore audit verify",
    )
