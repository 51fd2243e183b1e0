"""`patchcore audit replay` and `explain`: whether a score reproduces, and where it comes from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchcore.cli.commands.options import Json, Place, opened
from patchcore.cli.display import scoring as display
from patchcore.cli.result import Outcome, finish
from patchcore.errors import BatchIncomplete, NotReproduced, Refused

if TYPE_CHECKING:
    from patchcore.lifecycle.scoring.results import ExplainResult, ReplayResult

Batch = Annotated[str, typer.Argument(help="The name of the batch.")]
Scoring = Annotated[int | None, typer.Option(help="Which scoring of the batch; by default the last.")]
Elsewhere = Annotated[Path | None, typer.Option(help="Where to look, by content, for images that were moved.")]


def replay(
    batch: Batch, scoring: Scoring = None, folder: Elsewhere = None, json: Json = False, workspace: Place = None
) -> int:
    """Score a recorded batch again with the same bank, and compare every number."""

    def work() -> "Outcome[ReplayResult]":
        from patchcore.lifecycle.evidence.anchoring import anchor_after_change
        from patchcore.lifecycle.scoring.replay import replay as score_again
        from patchcore.lifecycle.scoring.results import ReplayResult

        with opened(workspace) as services:
            record = score_again(services, batch, scoring, folder)
            anchored = anchor_after_change(services, git=False)
        result = ReplayResult(**dict(record), anchored=anchored)
        return Outcome(result, None if result.ok else _refusal(result))

    return finish(work, as_json=json, show=display.replayed)


def explain(
    batch: Batch,
    image: Annotated[str, typer.Argument(help="The image: its path as recorded, its file name, or its sha256.")],
    output: Annotated[Path | None, typer.Option(help="Draw a picture in this PNG file.")] = None,
    scoring: Scoring = None,
    folder: Elsewhere = None,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Show the patch that made a score, beside the nearest normal patch of the bank."""

    def work() -> "Outcome[ExplainResult]":
        from patchcore.lifecycle.scoring.explain import explain as explain_score

        with opened(workspace) as services:
            return Outcome(explain_score(services, batch, image, output=output, scoring=scoring, folder=folder))

    return finish(work, as_json=json, show=display.explained)


def _refusal(result: "ReplayResult") -> Refused:
    """Return the error of a batch that did not reproduce: other results, or missing images."""
    remedies = ["compare the runtime and the code version of the two computations"] if result.different else []
    if result.missing:
        remedies.append("name the folder where the images are now with --folder FOLDER")
    kind = NotReproduced if result.different else BatchIncomplete
    return kind(
        f"batch {result.batch} did not reproduce",
        got=f"{len(result.different)} with another result, {len(result.missing)} not found",
        expected=f"all {result.received} as recorded",
        remedy=", and ".join(remedies),
    )
