"""A batch of images in, a record in the ledger and a folder of heatmaps out."""

from pathlib import Path
from typing import Any

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE

from flows.anchor import anchor_ledger
from flows.artifacts import leave_table
from flows.gate import reconcile
from flows.retries import unless_refused
from patchcore.lifecycle.scoring import batches
from patchcore.lifecycle.scoring.result_files import with_scorings
from patchcore.lifecycle.services import open_services


@flow(name="score", flow_run_name="score-{batch}", validate_parameters=False)
def score(workspace: str, category: str, folder: str, batch: str, rescore_reason: str | None = None) -> dict[str, Any]:
    """Score a batch with the bank in production; the same batch again returns what is recorded.

    With a reason the batch is scored once more: a record and a folder of its own beside those of the first time.

    Raises:
        Refused: the folder is empty, no bank is in production, the batch's name is taken, or a batch is to be scored
            again that never was.
        Fault: the ledger cannot be written; then nothing is reported.
    """
    open_services(workspace).params.require(category)
    production = resolve_production(workspace, category)
    known = look_up(workspace, category, folder, batch, production["bank_sha256"], rescore_reason)
    if known is not None:
        return {**known, "recorded_before": True, "anchored": anchor_ledger(workspace, git=False)}
    reconciled = fetch_production(workspace, category, **production)
    return {
        **score_images(workspace, category, folder, batch, **production, rescore_reason=rescore_reason),
        "recorded_before": False,
        "reconciled": reconciled,
        "anchored": anchor_ledger(workspace, git=False),
    }


@task(task_run_name="resolve production of {category}", cache_policy=NO_CACHE)
def resolve_production(workspace: str, category: str) -> dict[str, Any]:
    """Resolve production once, to a number and a digest."""
    services = open_services(workspace)
    services.ledger.check()
    production = batches.resolve(services, category)
    return {"version": production.version, "bank_sha256": production.bank_sha256}


@task(task_run_name="look up batch {batch} in the ledger", cache_policy=NO_CACHE)
def look_up(
    workspace: str, category: str, folder: str, batch: str, bank_sha256: str, rescore_reason: str | None
) -> dict[str, Any] | None:
    """Return the batch if it was scored before, from the same images by the same bank, for the same reason."""
    services = open_services(workspace)
    images = batches.receive(services.workspace, Path(folder))
    known = batches.recorded(services, batch, category, images, bank_sha256, rescore_reason)
    if known is None:
        return None
    batches.restore_results(services, known, images)
    return with_scorings(known, services.ledger.scorings(batch))


@task(
    task_run_name="fetch version {version} of {category}",
    retries=2,
    retry_delay_seconds=2,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
def fetch_production(workspace: str, category: str, version: int, bank_sha256: str) -> list[str]:
    """Bring the bank to this machine, its digests checked; an alias that somebody moved is mended."""
    services = open_services(workspace)
    batches.open_scorer(services, category, version, bank_sha256)
    return reconcile(services, category)


@task(task_run_name="score batch {batch} with version {version}", cache_policy=NO_CACHE)
def score_images(
    workspace: str,
    category: str,
    folder: str,
    batch: str,
    version: int,
    bank_sha256: str,
    rescore_reason: str | None,
) -> dict[str, Any]:
    """Score, write the ledger, then show."""
    services = open_services(workspace)
    scorer = batches.open_scorer(services, category, version, bank_sha256)
    received = batches.receive(services.workspace, Path(folder))
    run_id = str(runtime.flow_run.id) if runtime.flow_run.id else None
    scored = batches.score_batch(services, scorer, batch, received, flow_run_id=run_id, reason=rescore_reason)
    result = with_scorings(scored, services.ledger.scorings(batch)[: scored.record.scoring])
    _leave_scores(category, result)
    return result


def _leave_scores(category: str, result: dict[str, Any]) -> None:
    worst = sorted(result["images"], key=lambda image: -image["score"])[:100]
    rows = [{key: image[key] for key in ("path", "score", "p_value", "anomalous")} for image in worst]
    words = f"{result['batch']}: {result['scored']} scored, {len(result['failed'])} failed"
    leave_table("batch", category, rows, f"{words}, by bank version {result['bank_version']}")
