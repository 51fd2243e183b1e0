"""Score batches without a flow, as the flow does it."""

from pathlib import Path

from patchcore.lifecycle.batch_inputs import receive
from patchcore.lifecycle.batch_results import BatchResults, batch_results
from patchcore.lifecycle.scoring.batches import Scorer, open_scorer, score_batch
from patchcore.lifecycle.scoring.checks import require_production
from patchcore.lifecycle.services import Services


def scorer_in_production(services: Services, category: str = "cell") -> Scorer:
    """Load the bank in production."""
    production = require_production(services, category)
    return open_scorer(services, category, production.version, production.bank_sha256)


def score(services: Services, folder: Path, batch: str, reason: str | None = None) -> BatchResults:
    """Score a batch with the bank in production, whether or not it is recorded already."""
    scorer, images = scorer_in_production(services), receive(services.workspace, folder)
    scored = score_batch(services, scorer, batch, images, flow_run_id=None, reason=reason)
    return batch_results(scored, services.ledger.scorings(batch))
