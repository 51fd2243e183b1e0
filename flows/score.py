"""The flow that scores a batch: a folder of images in; a record in the ledger and a result folder out."""

from pathlib import Path

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE

from flows.anchor import anchor_ledger
from flows.artifacts import leave_table
from flows.gate import reconcile
from flows.retries import unless_refused
from patchcore.adapters.ledger.records import Production, RecordedBatch
from patchcore.lifecycle.batch_inputs import Received, receive
from patchcore.lifecycle.batch_results import BatchResults, batch_results
from patchcore.lifecycle.scoring import batches, checks
from patchcore.lifecycle.scoring.batches import Scorer
from patchcore.lifecycle.scoring.results import ScoreResult
from patchcore.lifecycle.services import Services, services_of


@flow(name="score", flow_run_name="score-{batch}", validate_parameters=False)
def score(workspace: str, category: str, folder: str, batch: str, rescore_reason: str | None = None) -> ScoreResult:
    """Score a batch with the bank in production.

    The files are listed and digested once, and the bank is loaded once. The same batch again returns what is recorded.

    Args:
        workspace: The folder of the workspace.
        category: The category of the images.
        folder: The folder with the images.
        batch: The name of the batch.
        rescore_reason: Why the batch is scored again: it gets another record and another result folder. None for the
            first scoring.

    Raises:
        NoProduction: No bank is in production.
        NoImages: The folder is missing or empty.
        InvalidName: The name cannot be the name of a batch.
        UnknownBatch: There is a reason, but the batch was not scored before.
        BatchExists: The batch was scored for another category; or, without a reason, with other images or another bank.
        LedgerUnavailable: The ledger cannot be written. No result is shown then.
    """
    with services_of(workspace) as services:
        services.params.require(category)
        production = resolve_production(services, category)
        images = receive(services.workspace, Path(folder))
        known = look_up(services, batch, images, production, rescore_reason)
        reconciled: list[str] = []
        if known is None:
            scorer = fetch_production(services, production)
            reconciled = reconcile(services, category)
            result = score_images(services, scorer, batch, images, rescore_reason)
        else:
            result = batch_results(known, services.ledger.scorings(batch))
        anchored = anchor_ledger(workspace, git=False)
        return ScoreResult(
            **dict(result), recorded_before=known is not None, reconciled=tuple(reconciled), anchored=anchored
        )


@task(task_run_name="resolve production of {category}", cache_policy=NO_CACHE)
def resolve_production(services: Services, category: str) -> Production:
    """Find the bank version in production once; all that follows uses this number and digest."""
    services.ledger.check()
    return checks.require_production(services, category)


@task(task_run_name="look up batch {batch} in the ledger", cache_policy=NO_CACHE)
def look_up(
    services: Services, batch: str, images: list[Received], production: Production, rescore_reason: str | None
) -> RecordedBatch | None:
    """Return the batch if it was scored before; write its result folder again if that is missing."""
    category, bank_sha256 = production.category, production.bank_sha256
    known = batches.find_scored(services, batch, category, images, bank_sha256, rescore_reason)
    if known is not None:
        batches.restore_results(services, known, images)
    return known


@task(
    task_run_name="fetch version {production.version} of {production.category}",
    retries=2,
    retry_delay_seconds=2,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
def fetch_production(services: Services, production: Production) -> Scorer:
    """Load the bank from this machine's cache or the registry, and check its digests."""
    return batches.open_scorer(services, production.category, production.version, production.bank_sha256)


@task(task_run_name="score batch {batch} with version {scorer.record.version}", cache_policy=NO_CACHE)
def score_images(
    services: Services, scorer: Scorer, batch: str, images: list[Received], rescore_reason: str | None
) -> BatchResults:
    """Score the images, write the ledger, then write the result folder."""
    run_id = str(runtime.flow_run.id) if runtime.flow_run.id else None
    scored = batches.score_batch(services, scorer, batch, images, flow_run_id=run_id, reason=rescore_reason)
    result = batch_results(scored, services.ledger.scorings(batch)[: scored.record.scoring])
    worst = sorted(result.images, key=lambda image: -image.score)[:100]
    rows = [image.model_dump(include={"path", "score", "p_value", "anomalous"}) for image in worst]
    words = f"{batch}: {result.scored} scored, {len(result.failed)} failed, by bank version {result.bank_version}"
    leave_table("batch", result.category, rows, words)
    return result
