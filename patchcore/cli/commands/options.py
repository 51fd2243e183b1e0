"""What the commands share: their options, and how they find the workspace."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchcore.cli.environment import prepare
from patchcore.config.workspace import Workspace, find_workspace

if TYPE_CHECKING:
    from patchcore.lifecycle.services import Services

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, and nothing else there.")]
Place = Annotated[
    Path | None,
    typer.Option("--workspace", "-w", help="The workspace; else PATCHCORE_WORKSPACE, else the current folder."),
]
Category = Annotated[str, typer.Argument(help="The kind of part, such as bottle.")]


def place_of(workspace: Path | None) -> Workspace:
    """Return the workspace of a command, and prepare the environment.

    Raises:
        Refused: there is none.
    """
    found = find_workspace(workspace)
    prepare(found)
    return found


def place_with_prefect(workspace: Path | None, category: str | None = None) -> Workspace:
    """Return the workspace, and prepare the import of Prefect; refuse early what no flow can repair.

    Raises:
        Refused: there is no workspace, its params.yaml is wrong, or has no such category.
    """
    from patchcore.config.params import load_params

    place = place_of(workspace)
    params = load_params(place.params)
    if category is not None:
        params.require(category)
    return place


@contextmanager
def opened(workspace: Path | None, category: str | None = None) -> Iterator["Services"]:
    """Prepare the environment for Prefect and MLflow, and open the services of a whole command, once.

    Args:
        workspace: The option ``--workspace``.
        category: The category of the command, which params.yaml must list.

    Raises:
        NoWorkspace: There is no workspace.
        InvalidParams: params.yaml cannot be used.
        UnknownCategory: params.yaml does not list the category.
        LedgerUnavailable: The ledger cannot be opened.
    """
    place = place_of(workspace)
    from patchcore.lifecycle.services import services_of

    with services_of(place.root) as services:
        if category is not None:
            services.params.require(category)
        yield services
