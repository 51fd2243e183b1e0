"""The bank that scored a batch, the data and the decision behind that bank, and the overrides since."""

from patchcore.adapters.ledger.records import CHANGES_PRODUCTION, BatchRecord, Decision
from patchcore.errors import UnknownBatch
from patchcore.lifecycle.audit.datasets import dataset_images
from patchcore.lifecycle.audit.results import BatchAnswer
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.batch_lookup import find_batch
from patchcore.lifecycle.batch_results import batch_results
from patchcore.lifecycle.services import Services


def batch(services: Services, name: str, scoring: int | None = None, *, images: bool = False) -> BatchAnswer:
    """Return a batch with every score, the bank that scored it, and the data-set version behind that bank.

    Args:
        services: The opened workspace.
        name: The name of the batch.
        scoring: The number of the scoring; None: the last one.
        images: Whether to list the images of the data-set version, too.

    Raises:
        UnknownBatch: There is no such batch or scoring.
        InvalidArchive: An archive is not the file that was written.
    """
    found = find_batch(services, name, scoring)
    scorings = services.ledger.scorings(name)
    if found is None:
        which = "" if scoring is None else f"scoring {scoring} of "
        raise UnknownBatch(
            f"no {which}batch {name!r} in the ledger",
            got=f"{len(scorings)} scoring{'' if len(scorings) == 1 else 's'} of that name",
            expected="a batch that was scored",
            remedy="check the name",
        )
    record = found.record
    dataset = services.ledger.dataset(record.category, record.dataset_version)
    return BatchAnswer(
        **dict(batch_results(found, scorings)),
        archived=len(found.images) != record.received,
        overrides=tuple(services.ledger.overrides(name)),
        bank=bank_record(services, record.category, record.bank_version),
        dataset=dataset,
        dataset_images=dataset_images(services, dataset, listed=images) if dataset else None,
        promotion=_promotion(services, record),
    )


def _promotion(services: Services, record: BatchRecord) -> Decision | None:
    """Return the last decision before the scoring that brought the bank to production."""
    decisions = services.ledger.decisions_for(record.category, record.bank_version)
    before = [each for each in decisions if each.action in CHANGES_PRODUCTION and each.at <= record.scored_at]
    return before[-1] if before else None
