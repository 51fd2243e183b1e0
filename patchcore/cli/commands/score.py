"""`patchcore score, override`: what the bank says of a batch, and what a person says of an image of it."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from patchcore.cli.commands.options import Category, Json, Place, place_of, place_with_prefect
from patchcore.cli.display import scoring as display
from patchcore.cli.result import Outcome, finish
from patchcore.errors import UsageError


def score(
    category: Category,
    folder: Annotated[Path, typer.Argument(help="The images of the batch; names that begin with a dot are left out.")],
    batch: Annotated[str, typer.Option(help="The batch's name; it is given once.")],
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score a batch once more, beside what is recorded.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why it is scored once more; the ledger keeps it.")] = None,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Score a batch with the bank in production, and write the ledger."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.cli.preflight import require_batch
        from patchcore.lifecycle.services import open_services

        again = _reason_of_rescore(reason, rescore=rescore)
        place, images = place_with_prefect(workspace, category), folder.resolve()
        require_batch(open_services(place.root), category, images, batch, again)
        from flows.score import score as flow

        value = flow(str(place.root), category, str(images), batch, again)
        _warn_of_failed(value)
        # What is recorded already is returned without a look at the registry.
        return Outcome({**value, "reconciled": value.get("reconciled", [])})

    return finish(work, as_json=json, show=display.scored)


def override(
    batch: Annotated[str, typer.Argument(help="The batch's name.")],
    image: Annotated[str, typer.Argument(help="The image: its path as recorded, its file name, or its sha256.")],
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")],
    anomalous: Annotated[
        bool | None, typer.Option("--anomalous/--normal", help="What the image is; one of the two is needed.")
    ] = None,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Record that a person decides otherwise about an image; what the bank said stays recorded too."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.lifecycle.evidence.anchoring import anchor_and_tell
        from patchcore.lifecycle.scoring.overrides import override as decide
        from patchcore.lifecycle.services import open_services

        if anomalous is None:
            raise UsageError("no decision is given", "neither", "--normal or --anomalous", "say what the image is")
        services = open_services(place_of(workspace).root)
        decided = decide(services, batch, image, anomalous=anomalous, reason=reason)
        return Outcome({**decided, "anchored": anchor_and_tell(services, git=False)})

    return finish(work, as_json=json, show=display.overridden)


def _reason_of_rescore(reason: str | None, *, rescore: bool) -> str | None:
    """Return why a batch is scored again, None where it is not.

    Raises:
        UsageError: one was given without the other.
    """
    if rescore == bool(reason and reason.strip()):
        return reason.strip() if reason else None
    got = "--rescore without a reason" if rescore else "--reason without --rescore"
    raise UsageError(
        "a batch is scored again for a reason", got=got, expected="both or neither", remedy="add the other"
    )


def _warn_of_failed(value: dict[str, Any]) -> None:
    """Say on stderr, to scripts too, that not every image has a score: the batch is recorded, the exit code is 0."""
    if failed := len(value["failed"]):
        recorded = "is recorded as failed" if failed == 1 else "are recorded as failed"
        words = f"{failed} of {value['received']} images could not be scored and {recorded}"
        sys.stderr.write(f"warning: {words}: see patchcore audit batch {value['batch']}\n")
