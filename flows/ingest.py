"""New normal images in: the good ones become a new data-set version, the others go to quarantine with the reason."""

import sys
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.anchor import anchor_ledger
from flows.artifacts import leave_table
from flows.publish import tell
from flows.retries import unless_refused
from patchcore.adapters.ledger.records import Event
from patchcore.errors import PatchcoreError
from patchcore.lifecycle import events
from patchcore.lifecycle.dataset_records import note_arrivals, record_dataset
from patchcore.lifecycle.git_commits import commit_images
from patchcore.lifecycle.intake import ingest as intake
from patchcore.lifecycle.services import open_services


@flow(name="ingest", flow_run_name="ingest-{category}", validate_parameters=False)
def ingest(workspace: str, category: str, folder: str | None = None, settle: float | None = None) -> dict[str, Any]:
    """Take new normal images from a folder, the category's drop folder when none is named.

    Args:
        workspace: the workspace's folder.
        category: the kind of part.
        folder: where the images are.
        settle: seconds for which files of the drop folder must not change; None where a person waits.

    Raises:
        Refused: the category or the folder is missing.
        Fault: the DVC remote does not take the images; they are a data-set version all the same, and the next ingest
            or retrain sends them.
    """
    services = open_services(workspace)
    services.params.require(category)
    with services.alone():
        result = take(workspace, category, folder or str(services.workspace.drop(category)), settle)
        # Whatever was taken: a run before this one may have died before it tracked its images, or failed to push them.
        track(workspace, category)
        dataset, event = number(workspace, category, result["waiting"])
        not_sent = _send(workspace)
    tell(workspace, category, event)
    anchored = anchor_ledger(workspace)
    if not_sent is not None:
        raise not_sent
    return {"category": category, **result, **dataset, "anchored": anchored}


def _send(workspace: str) -> PatchcoreError | None:
    """Push, and return what went wrong: a remote that is down is told when what came is recorded and told."""
    try:
        push(workspace)
    except PatchcoreError as error:
        return error
    return None


@task(task_run_name="check and take images of {category}", cache_policy=NO_CACHE)
def take(workspace: str, category: str, folder: str, settle: float | None = None) -> dict[str, Any]:
    """Take the good images and quarantine the others."""
    services = open_services(workspace)
    withdrawn = events.withdrawn(services, category)
    result = intake.ingest(
        services.workspace, category, Path(folder), services.params, settle=settle, withdrawn=withdrawn
    )
    for each in result.skipped:
        sys.stderr.write(f"warning: {each.source} is not taken: {each.reason}\n")
    rows = [{"file": entry.source, "outcome": f"taken as {entry.path}"} for entry in result.taken]
    rows += [{"file": entry.source, "outcome": f"quarantined: {entry.reason}"} for entry in result.rejected]
    rows += [{"file": entry.source, "outcome": f"known as {entry.path}"} for entry in result.known]
    rows += [{"file": source, "outcome": "waiting: it is still being written"} for source in result.waiting]
    rows += [{"file": each.source, "outcome": f"skipped: {each.reason}"} for each in result.skipped]
    leave_table("ingest", category, rows, f"{len(result.taken)} taken, {len(result.rejected)} quarantined")
    return {
        "taken": [{"path": entry.path, "sha256": entry.sha256, "source": entry.source} for entry in result.taken],
        "quarantined": [
            {"path": entry.path, "source": entry.source, "reason": entry.reason} for entry in result.rejected
        ],
        "known": [{"path": entry.path, "source": entry.source} for entry in result.known],
        "waiting": len(result.waiting),
        "skipped": [{"source": each.source, "reason": each.reason} for each in result.skipped],
    }


@task(task_run_name="track {category} in DVC and git", cache_policy=NO_CACHE)
def track(workspace: str, category: str) -> None:
    """Let DVC keep the category's images, and git their pointers: those that the data-set version is recorded with."""
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
    """Send the bytes to the DVC remote, where one is set."""
    services = open_services(workspace)
    if services.params.versioning.push:
        services.versioning.push()


@task(task_run_name="number the data-set version of {category}", cache_policy=NO_CACHE)
def number(workspace: str, category: str, waiting: int) -> tuple[dict[str, Any], Event | None]:
    """Record the present content in the ledger, and what came since the last such record."""
    services = open_services(workspace)
    dataset = record_dataset(services, category)
    event = events.record_ingest(services, category, dataset, waiting)
    found = {"dataset_version": dataset.number, "dataset_sha256": dataset.sha256, "normals": dataset.normals}
    return found, event
