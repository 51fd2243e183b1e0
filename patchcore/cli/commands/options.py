"""What the commands share: their options, and the workspace that they mean."""

from pathlib import Path
from typing import Annotated

import typer

from patchcore.cli.environment import prepare
from patchcore.config.workspace import Workspace, find_workspace

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
Place = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", help="The workspace; else PATCHCORE_WORKSPACE, else the current folder."),
]
Category = Annotated[str, typer.Argument(help="The kind of part, such as bottle.")]


def place_of(workspace: Path | None) -> Workspace:
    """Return the workspace of a command, the environment ready for it.

    Raises:
        Refused: there is none.
    """
    found = find_workspace(workspace)
    prepare(found)
    return found


def place_with_prefect(workspace: Path | None, category: str | None = None) -> Workspace:
    """Return the workspace, the environment ready for the import of Prefect; refuse early what no flow could mend.

    Raises:
        Refused: there is no workspace, its params.yaml is wrong, or has no such category.
    """
    from patchcore.config.params import load_params

    place = place_of(workspace)
    params = load_params(place.params)
    if category is not None:
        params.require(category)
    return place
