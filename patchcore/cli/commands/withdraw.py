"""`patchcore withdraw`: a normal image that turned out not to be one leaves the data set."""

from typing import Annotated, Any

import typer

from patchcore.cli.commands.options import Category, Json, Place, place_of
from patchcore.cli.display.terminal import say, show_pairs
from patchcore.cli.result import Outcome, finish


def withdraw(
    category: Category,
    image: Annotated[str, typer.Argument(help="The normal image: its path, its file name or its sha256.")],
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Take an image out of the normals, into quarantine: the next bank is built without it."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.lifecycle.evidence.anchoring import anchor_and_tell
        from patchcore.lifecycle.intake.withdrawal import withdraw as take_out
        from patchcore.lifecycle.mlflow_events import log_events_or_warn
        from patchcore.lifecycle.services import open_services

        services = open_services(place_of(workspace).root)
        with services.alone():
            taken = take_out(services, category, image, reason)
            if services.params.versioning.push:
                services.versioning.push()
        log_events_or_warn(services, category)
        value = {
            "category": category,
            "path": taken.path,
            "sha256": taken.sha256,
            "quarantined": taken.quarantined,
            "reason": reason,
            "dataset_version": taken.dataset.number,
            "dataset_sha256": taken.dataset.sha256,
            "normals": taken.dataset.normals,
            "anchored": anchor_and_tell(services),
        }
        return Outcome(value)

    return finish(work, as_json=json, show=_show)


def _show(value: dict[str, Any]) -> None:
    show_pairs(
        f"{value['category']}, data-set version {value['dataset_version']}",
        [
            ("withdrawn", value["path"]),
            ("now at", value["quarantined"]),
            ("reason", value["reason"]),
            ("normal images now", value["normals"]),
        ],
    )
    say(f"the banks that contain it: patchcore audit normal {value['sha256']}")
    say(f"a bank without it: patchcore retrain {value['category']}")
