"""The commands that bring normal images in and take them out: `patchcore ingest, withdraw, serve`."""

from pathlib import Path
from typing import Annotated

import typer

from patchcore.cli.commands.options import Category, Json, Place, opened
from patchcore.cli.display import intake as display
from patchcore.cli.result import Outcome, finish
from patchcore.lifecycle.intake.results import IngestReport, WithdrawalReport


def ingest(
    category: Category,
    folder: Annotated[Path | None, typer.Argument(help="New normal images; by default the drop folder.")] = None,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Take new normal images: the good ones become a new data-set version, the others go to quarantine."""

    def work() -> Outcome[IngestReport]:
        from patchcore.lifecycle.intake.candidates import check_new_images

        images = folder.resolve() if folder else None
        with opened(workspace, category) as services:
            if images:
                check_new_images(services.workspace, category, images)  # before Prefect starts, which takes seconds
            from flows.ingest import ingest as flow

            return Outcome(flow(str(services.workspace.root), category, str(images) if images else None))

    return finish(work, as_json=json, show=display.ingested)


def withdraw(
    category: Category,
    image: Annotated[str, typer.Argument(help="The normal image: its path, its file name or its sha256.")],
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Quarantine a mislabelled normal image; the next bank excludes it."""

    def work() -> Outcome[WithdrawalReport]:
        from patchcore.lifecycle.evidence.anchoring import anchor_after_change
        from patchcore.lifecycle.intake.withdrawal import withdraw as take_out
        from patchcore.lifecycle.mlflow_events import log_events_or_warn

        with opened(workspace, category) as services:
            with services.alone():
                taken = take_out(services, category, image, reason)
                if services.params.versioning.push:
                    services.versioning.push()
            log_events_or_warn(services, category)
            report = WithdrawalReport(
                category=category,
                path=taken.path,
                sha256=taken.sha256,
                quarantined=taken.quarantined,
                reason=reason,
                dataset_version=taken.dataset.number,
                dataset_sha256=taken.dataset.sha256,
                normals=taken.dataset.normals,
                anchored=anchor_after_change(services),
            )
        return Outcome(report)

    return finish(work, as_json=json, show=display.withdrawn)


def serve(workspace: Place = None) -> int:
    """Serve every flow until interrupted, each retrain with its schedule from params.yaml."""

    def work() -> Outcome[IngestReport]:
        with opened(workspace) as services:
            from flows.deploy import serve as serve_flows

            serve_flows(str(services.workspace.root))
        return Outcome()

    return finish(work, as_json=False, show=lambda _: None)
