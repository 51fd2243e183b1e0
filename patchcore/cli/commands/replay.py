"""`patchcore audit replay, explain`: whether a score comes out again, and where it came from."""

from pathlib import Path
from typing import Annotated, Any

import typer

from patchcore.cli.commands.options import Json, Place, place_of
from patchcore.cli.display import scoring as display
from patchcore.cli.result import Outcome, finish
from patchcore.errors import Refused

Batch = Annotated[str, typer.Argument(help="The batch's name.")]
Scoring = Annotated[int | None, typer.Option(help="Which scoring of the batch; else the last.")]
Elsewhere = Annotated[Path | None, typer.Option(help="Where to look, by content, for images that were moved.")]


def replay(
    batch: Batch, scoring: Scoring = None, folder: Elsewhere = None, json: Json = False, workspace: Place = None
) -> int:
    """Score a recorded batch again with the bank of then, and compare every number."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.lifecycle.evidence.anchoring import anchor_and_tell
        from patchcore.lifecycle.scoring.replay import replay as play
        from patchcore.lifecycle.services import open_services

        services = open_services(place_of(workspace).root)
        value = play(services, batch, scoring, folder)
        value = {**value, "anchored": anchor_and_tell(services, git=False)}
        if value["ok"]:
            return Outcome(value)
        refusal = Refused(
            f"batch {batch} has not the same results again",
            got=f"{len(value['different'])} with another result, {len(value['missing'])} not to be had",
            expected=f"all {value['received']} as recorded",
            remedy=_remedy(value),
        )
        return Outcome(value, refusal)

    return finish(work, as_json=json, show=display.replayed)


def _remedy(value: dict[str, Any]) -> str:
    """Return what may help: where images are gone, nothing is known of the computation."""
    steps = ["compare runtime and code of then and now"] if value["different"] else []
    if value["missing"]:
        steps.append("say with --folder FOLDER where the images are now")
    return ", and ".join(steps)


def explain(
    batch: Batch,
    image: Annotated[str, typer.Argument(help="The image: its path as recorded, its file name, or its sha256.")],
    output: Annotated[Path | None, typer.Option(help="Where to draw it, a PNG; else there are numbers only.")] = None,
    scoring: Scoring = None,
    folder: Elsewhere = None,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Show the patch that made a score, beside the nearest normal patch of the bank."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.lifecycle.scoring.explain import explain as show
        from patchcore.lifecycle.services import open_services

        services = open_services(place_of(workspace).root)
        return Outcome(show(services, batch, image, output=output, scoring=scoring, folder=folder))

    return finish(work, as_json=json, show=display.explained)
