"""Which bank scored a batch, on which data, by whose decision; and what people said about it since."""

from dataclasses import asdict
from typing import Any

from patchcore.adapters.ledger.records import CHANGES_PRODUCTION, BatchRecord
from patchcore.errors import Refused
from patchcore.lifecycle.audit.datasets import dataset_images
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.batch_lookup import find_batch
from patchcore.lifecycle.batch_results import batch_results
from patchcore.lifecycle.services import Services


def batch(services: Services, name: str, scoring: int | None = None, *, images: bool = False) -> dict[str, Any]:
    """Say which bank version scored a batch, which data-set version that bank came from, and every score.

    Args:
        services: The opened workspace.
        name: Of the batch.
        scoring: Which of its scorings; None: the last.
        images: List the images of the data-set version too.

    Returns:
        The batch by the names of the contract, and: its scorings; the overrides of its images; the bank, the data-set
        version and its images, and the promotion that had brought the bank to production (None where there was none).
        ``archived`` says that the images of the batch lie in an archive that is not here.

    Raises:
        Refused: There is no such batch.
    """
    found = find_batch(services, name, scoring)
    scorings = services.ledger.scorings(name)
    if found is None:
        which = "" if scoring is None else f"scoring {scoring} of "
        raise Refused(
            f"no {which}batch {name!r} in the ledger",
            got=f"{len(scorings)} scoring{'' if len(scorings) == 1 else 's'} of that name",
            expected="a batch that was scored",
            remedy="check the name",
        )
    record = found.record
    dataset = services.ledger.dataset(record.category, record.dataset_version)
    return {
        **batch_results(found, scorings).model_dump(),
        "archived": len(found.images) != record.received,
        "overrides": [asdict(entry) for entry in services.ledger.overrides(name)],
        "bank": asdict(bank_record(services, record.category, record.bank_version)),
        "dataset": asdict(dataset) if dataset else None,
        "dataset_images": dataset_images(services, dataset, listed=images) if dataset else None,
        "promotion": _promotion(services, record),
    }


def _promotion(services: Services, record: BatchRecord) -> dict[str, Any] | None:
    """Return the last decision that had brought the bank to production when it scored the batch."""
    decisions = services.ledger.decisions_for(record.category, record.bank_version)
    before = [each for each in decisions if each.action in CHANGES_PRODUCTION and each.at <= record.scored_at]
    return asdict(before[-1]) if before else None
