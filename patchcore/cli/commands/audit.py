"""`patchcore audit`: questions about the past, answered from the ledger."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from patchcore._util.model import Model
from patchcore.cli.commands import evidence as cli_evidence
from patchcore.cli.commands import replay as cli_replay
from patchcore.cli.commands.options import Category, Json, Place, place_of
from patchcore.cli.display import audit as display
from patchcore.cli.display import banks as display_banks
from patchcore.cli.display import history as display_history
from patchcore.cli.result import Outcome, finish
from patchcore.errors import BatchIncomplete, Refused

if TYPE_CHECKING:
    from patchcore.lifecycle.audit.bank_results import BankAnswer, ComparisonAnswer, ProductionAnswer
    from patchcore.lifecycle.audit.history_results import HistoryAnswer
    from patchcore.lifecycle.audit.results import (
        BatchAnswer,
        CompletenessAnswer,
        DatasetAnswer,
        ImageAnswer,
        NormalAnswer,
    )
    from patchcore.lifecycle.services import Services

Answer = TypeVar("Answer", bound=Model)

Batch = Annotated[str, typer.Argument(help="The name of the batch.")]
Scoring = Annotated[int | None, typer.Option(help="The number of the scoring; the last one by default.")]
Image = Annotated[str, typer.Argument(help="The sha256 of the image, or its path.")]
Version = Annotated[int, typer.Argument(help="A bank version.")]
Fetch = Annotated[bool, typer.Option("--fetch", help="Download banks that are not on this machine.")]

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
        typer.Option("--images", help="List the images of the bank's data-set version, too."),
    ] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Show the bank version that scored a batch, and the data-set version that the bank was built from."""

    def question(services: "Services") -> "BatchAnswer":
        from patchcore.lifecycle import audit

        return audit.batch(services, batch, scoring, images=images)

    return _ask(question, workspace, json, display.batch)


@audit_app.command("dataset")
def audit_dataset(
    category: Category,
    number: Annotated[int, typer.Argument(help="The data-set version.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """List the images of a data-set version, and the banks that were built from it."""

    def question(services: "Services") -> "DatasetAnswer":
        from patchcore.lifecycle import audit

        return audit.dataset(services, category, number)

    return _ask(question, workspace, json, display.dataset)


@audit_app.command("image")
def audit_image(image: Image, json: Json = False, workspace: Place = None) -> int:
    """Show every scoring of an image."""

    def question(services: "Services") -> "ImageAnswer":
        from patchcore.lifecycle import audit

        return audit.image(services, image)

    return _ask(question, workspace, json, display.image)


@audit_app.command("normal")
def audit_normal(image: Image, fetch: Fetch = False, json: Json = False, workspace: Place = None) -> int:
    """Show the banks that were built from a normal image, and the batches that they scored."""

    def question(services: "Services") -> "NormalAnswer":
        from patchcore.lifecycle import audit

        return audit.normal(services, image, fetch=fetch)

    return _ask(question, workspace, json, display_banks.normal)


@audit_app.command("bank")
def audit_bank(
    category: Category, version: Version, fetch: Fetch = False, json: Json = False, workspace: Place = None
) -> int:
    """Show a bank version, the decisions about it, and the batches that it scored."""

    def question(services: "Services") -> "BankAnswer":
        from patchcore.lifecycle import audit

        return audit.bank(services, category, version, fetch=fetch)

    return _ask(question, workspace, json, display_banks.bank)


@audit_app.command("compare")
def audit_compare(
    category: Category, first: Version, second: Version, json: Json = False, workspace: Place = None
) -> int:
    """Show the images that two bank versions decided differently, in batches that both scored."""

    def question(services: "Services") -> "ComparisonAnswer":
        from patchcore.lifecycle import audit

        return audit.compare(services, category, first, second)

    return _ask(question, workspace, json, display_banks.compare)


@audit_app.command("at")
def audit_at(
    category: Category,
    time: Annotated[str, typer.Argument(help="A time such as 2026-11-22T02:13; UTC unless it has a zone.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Show the bank version that was in production at a time, and the decision behind it."""

    def question(services: "Services") -> "ProductionAnswer":
        from patchcore.lifecycle import audit

        return audit.at(services, category, time)

    return _ask(question, workspace, json, display_history.at)


@audit_app.command("history")
def audit_history(category: Category, json: Json = False, workspace: Place = None) -> int:
    """Show every decision about a category and every withdrawal, with user, time and reason."""

    def question(services: "Services") -> "HistoryAnswer":
        from patchcore.lifecycle import audit

        return audit.history(services, category)

    return _ask(question, workspace, json, display_history.history)


@audit_app.command("completeness")
def audit_completeness(
    batch: Batch,
    scoring: Scoring = None,
    folder: Annotated[
        Path | None, typer.Option(help="The folder of the batch's files; the folder that was scored by default.")
    ] = None,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Check that every image of a batch is recorded, and that its files are unchanged."""

    def question(services: "Services") -> "CompletenessAnswer":
        from patchcore.lifecycle import audit

        return audit.completeness(services, batch, scoring, folder)

    return _ask(question, workspace, json, display.completeness, _incomplete)


def _ask(
    question: "Callable[[Services], Answer]",
    workspace: Path | None,
    as_json: bool,
    show: "Callable[[Answer], None]",
    refuse: "Callable[[Answer], Refused | None]" = lambda _: None,
) -> int:
    """Open the services, ask the ledger, and show the answer."""

    def work() -> "Outcome[Answer]":
        from patchcore.lifecycle.services import services_of

        with services_of(place_of(workspace).root) as services:
            value = question(services)
        return Outcome(value, refuse(value))

    return finish(work, as_json=as_json, show=show)


def _incomplete(value: "CompletenessAnswer") -> Refused | None:
    if value.complete:
        return None
    words = [f"{entry.path or 'the batch'}: {entry.problem}" for entry in value.problems]
    return BatchIncomplete(
        f"batch {value.batch} is not complete",
        got="; ".join(words[:3]) + (f"; and {len(words) - 3} more" if len(words) > 3 else ""),
        expected="every file recorded, and every recorded file unchanged",
        remedy="restore the files, or name their folder with --folder; verify the records with: patchcore audit verify",
    )
