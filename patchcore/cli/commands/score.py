"""`patchcore score` and `patchcore override`: the bank's decisions about a batch, and a person's about an image."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchcore.cli.commands.options import Category, Json, Place, opened
from patchcore.cli.display import scoring as display
from patchcore.cli.result import Outcome, finish
from patchcore.errors import ContradictingOptions, UsageError

if TYPE_CHECKING:
    from patchcore.lifecycle.scoring.results import OverrideResult, ScoreResult


def score(
    category: Category,
    folder: Annotated[
        Path,
        typer.Argument(help="The images of the batch; files and folders whose names begin with a dot are ignored."),
    ],
    batch: Annotated[str, typer.Option(help="The name of the batch.")],
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score a recorded batch again; the earlier record stays.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why the batch is scored again; the ledger keeps it.")] = None,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Score a batch with the bank in production and record it in the ledger."""

    def work() -> "Outcome[ScoreResult]":
        from patchcore.lifecycle.scoring.checks import check_batch

        again, images = _check_rescore(reason, rescore=rescore), folder.resolve()
        with opened(workspace, category) as services:
            check_batch(services, category, images, batch, again)  # before the import of Prefect, which takes seconds
            from flows.score import score as flow

            result = flow(str(services.workspace.root), category, str(images), batch, again)
        _warn_of_failed(result)
        return Outcome(result)

    return finish(work, as_json=json, show=display.scored)


def override(
    batch: Annotated[str, typer.Argument(help="The name of the batch.")],
    image: Annotated[str, typer.Argument(help="The image: its path as recorded, its file name, or its sha256.")],
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")],
    anomalous: Annotated[bool, typer.Option("--anomalous", help="The image is anomalous.")] = False,
    normal: Annotated[bool, typer.Option("--normal", help="The image is normal.")] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Record a person's decision about an image; the bank's decision stays recorded too."""

    def work() -> "Outcome[OverrideResult]":
        from patchcore.lifecycle.evidence.anchoring import anchor_after_change
        from patchcore.lifecycle.scoring.overrides import override as record_override
        from patchcore.lifecycle.scoring.results import OverrideResult

        _check_decision(anomalous=anomalous, normal=normal)
        with opened(workspace) as services:
            record = record_override(services, batch, image, anomalous=anomalous, reason=reason)
            anchored = anchor_after_change(services, git=False)
        return Outcome(OverrideResult(**dict(record), anchored=anchored))

    return finish(work, as_json=json, show=display.overridden)


def _check_decision(*, anomalous: bool, normal: bool) -> None:
    """Check that exactly one decision is given.

    Raises:
        ContradictingOptions: Both are.
        UsageError: None is.
    """
    expected, remedy = "--normal or --anomalous", "say what the image is"
    if anomalous and normal:
        raise ContradictingOptions("two decisions are given", got="both", expected=expected, remedy=remedy)
    if not anomalous and not normal:
        raise UsageError("no decision is given", got="neither", expected=expected, remedy=remedy)


def _check_rescore(reason: str | None, *, rescore: bool) -> str | None:
    """Return why a batch is scored again; None for the first scoring.

    Raises:
        ContradictingOptions: One of --rescore and --reason is given without the other.
    """
    stripped = (reason or "").strip()
    if rescore == bool(stripped):
        return stripped or None
    got = "--rescore without a reason" if rescore else "--reason without --rescore"
    raise ContradictingOptions(
        "a batch is scored again for a reason", got=got, expected="both or neither", remedy="add the other option"
    )


def _warn_of_failed(result: "ScoreResult") -> None:
    """Warn on stderr, for scripts too, of images without a score: the batch is recorded and the exit code is 0."""
    if failed := len(result.failed):
        recorded = "is recorded as failed" if failed == 1 else "are recorded as failed"
        text = f"{failed} of {result.received} images could not be scored and {recorded}"
        sys.stderr.write(f"warning: {text}: see patchcore audit batch {result.batch}\n")
