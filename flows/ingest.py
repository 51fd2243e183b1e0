"""Take new normal images: the good ones become a new data-set version, the others go to quarantine with the reason."""

import sys
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.anchor import anchor_ledger
from flows.artifacts import leave_table
from flows.publish import publish
from flows.retries import unless_refused
from patchcore.adapters.ledger.records import DatasetVersion, Event
from patchcore.errors import PatchcoreError
from patchcore.lifecycle import events
from patchcore.lifecycle.dataset_records import note_arrivals, record_dataset
from patchcore.lifecycle.git_commits import commit_images
from patchcore.lifecycle.intake import ingest as intake
from patchcore.lifecycle.intake.results import IngestReport, IngestResult
from patchcore.lifecycle.services import open_services, services_of


@flow(name="ingest", flow_run_name="ingest-{category}", validate_parameters=False)
def ingest(workspace: str, category: str, folder: str | None = None, settle: float | None = None) -> IngestReport:
    """Take new normal images from a folder; by default from the category's drop folder.

    Args:
        workspace: The workspace's folder.
        category: The category.
        folder: Where the images are.
        settle: Seconds during which files of the drop folder must not change; None if a person waits.

    Raises:
        Refused: The category or the folder is missing.
        Fault: The DVC remote does not take the images. They still become a data-set version, and the next ingest
            or retrain sends them.
    """
    with services_of(workspace) as services:
        services.params.require(category)
        with services.alone():
            result = take(workspace, category, folder or str(services.workspace.drop(category)), settle)
            # Always: a run before this one may have been killed before it tracked its images, or failed to push them.
            track(workspace, category)
            dataset, event = number(workspace, category, len(result.waiting))
            not_sent = _push(workspace)
        publish(workspace, category, event)
        anchored = anchor_ledger(workspace)
        if not_sent is not None:
            raise not_sent
        return IngestReport(
            category=category,
            taken=result.taken,
            quarantined=result.quarantined,
            known=result.known,
            waiting=len(result.waiting),
            skipped=result.skipped,
            dataset_version=dataset.number,
            dataset_sha256=dataset.sha256,
            normals=dataset.normals,
            anchored=anchored,
        )


def _push(workspace: str) -> PatchcoreError | None:
    """Push, and return the error: the ingest is recorded and published before a failed push is reported."""
    try:
        push(workspace)
    except PatchcoreError as error:
        return error
    return None


@task(task_run_name="check and take images of {category}", cache_policy=NO_CACHE)
def take(workspace: str, category: str, folder: str, settle: float | None = None) -> IngestResult:
    """Take the good images and quarantine the others."""
    services = open_services(workspace)
    result = intake.ingest(
        services.workspace,
        category,
        Path(folder),
        services.params,
        settle=settle,
        withdrawn=events.withdrawal_reasons(services, category),
        digests=services.digests,
    )
    for each in result.skipped:
        sys.stderr.write(f"warning: {each.source} is not taken: {each.reason}\n")
    outcomes = [(image.source, f"taken as {image.path}") for image in result.taken]
    outcomes += [(image.source, f"quarantined: {image.reason}") for image in result.quarantined]
    outcomes += [(image.source, f"known as {image.path}") for image in result.known]
    outcomes += [(source, "waiting: a program is writing it") for source in result.waiting]
    outcomes += [(file.source, f"skipped: {file.reason}") for file in result.skipped]
    rows = [{"file": source, "outcome": outcome} for source, outcome in outcomes]
    leave_table("ingest", category, rows, f"{len(result.taken)} taken, {len(result.quarantined)} quarantined")
    return result


@task(task_run_name="track {category} in DVC and git", cache_policy=NO_CACHE)
def track(workspace: str, category: str) -> None:
    """Put the category's images under DVC and their pointers into git, before the data-set version is recorded."""
    services = open_services(workspace)
    place = services.workspace
    folders = (place.normals(category), place.evaluation(category), place.ground_truth(category))
    services.versioning.track([folder for folder in folders if folder.is_dir()])
    note_arrivals(services, category)
    commit_images(services, category)


@task(
    task_run_name="push to the DVC remote",
    retries=3,
    retry_delay_seconds=5,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
def push(workspace: str) -> None:
    """Send the data to the DVC remote, if there is one."""
    services = open_services(workspace)
    if services.params.versioning.push:
        services.versioning.push()


@task(task_run_name="number the data-set version of {category}", cache_policy=NO_CACHE)
def number(workspace: str, category: str, waiting: int) -> tuple[DatasetVersion, Event | None]:
    """Record the present content in the ledger, and the changes since the last such record."""
    services = open_services(workspace)
    dataset = record_dataset(services, category)
    return dataset, events.record_ingest(services, category, dataset, waiting)
