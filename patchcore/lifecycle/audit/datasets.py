"""The images of a data-set version, and the banks and batches that depend on a normal image.

A bank is built from normal images and evaluated on the evaluation set, so an image of that set is in no bank.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Literal

import numpy as np

from patchcore.adapters.ledger.records import (
    BankRecord,
    DatasetVersion,
    EventKind,
    Membership,
    ScoredBatch,
)
from patchcore.errors import UnknownDataset
from patchcore.lifecycle.archived_images import anomalous_counts
from patchcore.lifecycle.audit.images import sha256_named
from patchcore.lifecycle.audit.results import (
    BankName,
    BankWithImage,
    DatasetAnswer,
    DatasetImages,
    ImageMembership,
    ImageWithdrawal,
    NormalAnswer,
    ScoredBatchAnswer,
    UnlistedDataset,
    scoring_fields,
)
from patchcore.lifecycle.bank_cache import bank_content
from patchcore.lifecycle.event_summaries import WithdrawalSummary
from patchcore.lifecycle.services import Services

_NORMAL = "train"


def dataset(services: Services, category: str, number: int) -> DatasetAnswer:
    """Return a data-set version with all its images, and the banks that were built from it.

    Raises:
        UnknownDataset: There is no such version.
    """
    record = services.ledger.dataset(category, number)
    if record is None:
        latest = services.ledger.latest_dataset(category)
        raise UnknownDataset(
            f"no data-set version {number} of {category} in the ledger",
            got=str(number),
            expected=f"1 to {latest.number}" if latest else "a category that was added with patchcore add",
            remedy="check the category and the number",
        )
    banks = [bank.version for bank in services.ledger.banks(category) if bank.dataset_version == number]
    images = dataset_images(services, record, listed=True)
    return DatasetAnswer(**asdict(record), banks=tuple(banks), dataset_images=images)


def dataset_images(services: Services, record: DatasetVersion, *, listed: bool) -> DatasetImages:
    """Return the number of images of a data-set version, and the images if they are wanted and were recorded."""
    count = record.normals + record.evaluation_images
    members = services.ledger.members(record.category, record.number) if listed else []
    return DatasetImages(count=count, images=tuple(members) if members or count == 0 else None)


def normal(services: Services, sha256_or_file: str, *, fetch: bool = False) -> NormalAnswer:
    """Return the data-set versions that an image is or was in, the banks built from them, and their batches.

    Args:
        services: The opened workspace.
        sha256_or_file: The digest of the image, or its path.
        fetch: Whether to download banks that are not on this machine, to find the role of the image in them.

    Raises:
        UsageError: The text is neither a sha256 nor a file.
        InvalidArchive: An archive is not the file that was written.
    """
    sha256 = sha256_named(sha256_or_file)
    places = services.ledger.memberships(sha256)
    normals = [place for place in places if place.part == _NORMAL]
    others = [place for place in places if place.part != _NORMAL]
    unlisted = services.ledger.unlisted_datasets()
    categories = {place.category for place in places} | {entry.category for entry in unlisted}
    return NormalAnswer(
        sha256=sha256,
        memberships=tuple(ImageMembership(**asdict(place), normal=place.part == _NORMAL) for place in places),
        withdrawn=tuple(_withdrawals(services, sha256, categories)),
        banks=tuple(_bank(services, bank, sha256, fetch=fetch) for bank in _built_from(services, normals)),
        measured=tuple(_name(bank) for bank in _built_from(services, others)),
        unlisted=tuple(UnlistedDataset(category=entry.category, dataset_version=entry.number) for entry in unlisted),
    )


def _withdrawals(services: Services, sha256: str, categories: Collection[str]) -> list[ImageWithdrawal]:
    """Return the withdrawals of an image from categories, oldest first."""
    events = [event for category in categories for event in services.ledger.events(category, EventKind.WITHDRAW)]
    found = [(event, WithdrawalSummary.read(event)) for event in events]
    return [
        ImageWithdrawal(
            sequence=event.sequence,
            category=event.category,
            at=event.at,
            who=event.who,
            path=summary.path,
            reason=summary.reason,
            dataset_version=summary.dataset_version,
        )
        for event, summary in sorted(found, key=lambda each: each[0].sequence)
        if summary is not None and summary.sha256 == sha256
    ]


def _built_from(services: Services, places: Sequence[Membership]) -> list[BankRecord]:
    """Return the banks that were built from a data-set version with the image, each once."""
    found: dict[tuple[str, int], BankRecord] = {}
    for place in places:
        for bank in services.ledger.banks(place.category):
            if place.first <= bank.dataset_version and (place.last is None or bank.dataset_version <= place.last):
                found[bank.category, bank.version] = bank
    return [found[key] for key in sorted(found)]


def _name(bank: BankRecord) -> BankName:
    return BankName(
        category=bank.category,
        bank_version=bank.version,
        bank_sha256=bank.sha256,
        dataset_version=bank.dataset_version,
    )


def _bank(services: Services, bank: BankRecord, sha256: str, *, fetch: bool) -> BankWithImage:
    role, rows = _role_and_rows(services, bank, sha256, fetch=fetch)
    return BankWithImage(**dict(_name(bank)), role=role, rows=rows, batches=scored_batches(services, bank))


def _role_and_rows(
    services: Services, bank: BankRecord, sha256: str, *, fetch: bool
) -> tuple[Literal["remembered", "calibration"] | None, int | None]:
    """Return the role of a normal image in a bank, and the number of rows that come from the image."""
    content = bank_content(services, bank, fetch=fetch)
    if content is None:
        return None, None
    numbers = [number for number, image in enumerate(content.images) if image["sha256"] == sha256]
    rows = np.isin(content.arrays.sources[:, 0], numbers)
    return "remembered" if numbers else "calibration", int(rows.sum())


def scored_batches(services: Services, bank: BankRecord) -> tuple[ScoredBatchAnswer, ...]:
    """Return every scoring by a bank with its counts, oldest first.

    Raises:
        InvalidArchive: An archive is not the file that was written.
    """
    found = services.ledger.scored_by(bank.category, bank.version)
    moved = [each.record for each in found if each.anomalous is None]
    recorded = {(each.batch, each.scoring): services.ledger.batch(each.batch, each.scoring) for each in moved}
    sequences = {key: batch.sequence or 0 if batch else 0 for key, batch in recorded.items()}
    counts = anomalous_counts(services, sequences.values())
    return tuple(
        _scored(each, counts.get(sequences.get((each.record.batch, each.record.scoring), 0))) for each in found
    )


def _scored(found: ScoredBatch, archived: int | None) -> ScoredBatchAnswer:
    anomalous = archived if found.anomalous is None else found.anomalous
    passed = None if anomalous is None else found.record.scored - anomalous
    return ScoredBatchAnswer.model_validate(
        {**scoring_fields(found.record), "anomalous": anomalous, "passed": passed, "overridden": found.overridden}
    )
