"""Which images a data-set version has, and what a normal image has led to: the banks it is in, the batches they scored.

An image of the evaluation set is in no bank: banks were measured on it.
"""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from patchcore.adapters.ledger.records import (
    BankRecord,
    BatchRecord,
    DatasetVersion,
    EventKind,
    Membership,
    ScoredBatch,
)
from patchcore.errors import Refused
from patchcore.lifecycle.archived_images import anomalous_counts
from patchcore.lifecycle.audit.images import sha256_named
from patchcore.lifecycle.bank_cache import bank_content
from patchcore.lifecycle.services import Services

_NORMAL = "train"


def dataset(services: Services, category: str, number: int) -> dict[str, Any]:
    """Return a data-set version with all its images, and the banks that were built from it.

    Raises:
        Refused: There is no such version.
    """
    record = services.ledger.dataset(category, number)
    if record is None:
        latest = services.ledger.latest_dataset(category)
        raise Refused(
            f"the ledger knows no data-set version {number} of {category}",
            got=str(number),
            expected=f"1 to {latest.number}" if latest else "a category that was added with patchcore add",
            remedy="check the category and the number",
        )
    banks = [bank.version for bank in services.ledger.banks(category) if bank.dataset_version == number]
    return {**asdict(record), "banks": banks, "dataset_images": dataset_images(services, record, listed=True)}


def dataset_images(services: Services, record: DatasetVersion, *, listed: bool) -> dict[str, Any]:
    """Return how many images a data-set version has, and which: None where they are not listed or were not recorded."""
    count = record.normals + record.evaluation_images
    members = services.ledger.members(record.category, record.number) if listed else []
    return {"count": count, "images": [asdict(member) for member in members] if members or count == 0 else None}


def normal(services: Services, sha256_or_file: str, *, fetch: bool = False) -> dict[str, Any]:
    """Return the data-set versions that an image is or was in, the banks built from them, and what these scored.

    Args:
        services: The opened workspace.
        sha256_or_file: The image's digest, or the image.
        fetch: Fetch banks that are not on this machine from the registry, to say what the image does in them.

    Returns:
        ``memberships``; ``withdrawn``, each time that it was taken out, by whom and why; ``banks`` of those with the
        image among their normal images, with its ``role`` (remembered; calibration: held out; None where the bank is
        not at hand), how many ``rows`` come from it, and the batches; ``measured``, the banks that were only measured
        on it; ``unlisted``, the data-set versions of which the ledger does not know the images.

    Raises:
        UsageError: It is neither a sha256 nor a file.
        Refused: An archive is not the file that was written.
    """
    sha256 = sha256_named(sha256_or_file)
    places = services.ledger.memberships(sha256)
    normals = [place for place in places if place.part == _NORMAL]
    others = [place for place in places if place.part != _NORMAL]
    unlisted = services.ledger.unlisted_datasets()
    categories = {place.category for place in places} | {entry.category for entry in unlisted}
    return {
        "sha256": sha256,
        "memberships": [{**asdict(place), "normal": place.part == _NORMAL} for place in places],
        "withdrawn": _withdrawals(services, sha256, categories),
        "banks": [_bank(services, bank, sha256, fetch=fetch) for bank in _built_from(services, normals)],
        "measured": [_name(bank) for bank in _built_from(services, others)],
        "unlisted": [{"category": entry.category, "dataset_version": entry.number} for entry in unlisted],
    }


def _withdrawals(services: Services, sha256: str, categories: Collection[str]) -> list[dict[str, Any]]:
    """Return when an image was taken out of categories, by whom and why, the first time first."""
    events = [event for category in categories for event in services.ledger.events(category, EventKind.WITHDRAW)]
    named = ("path", "reason", "dataset_version")
    return [
        {
            **{name: getattr(event, name) for name in ("sequence", "category", "at", "who")},
            **{name: event.summary.get(name) for name in named},
        }
        for event in sorted(events, key=lambda event: event.sequence)
        if event.summary.get("sha256") == sha256
    ]


def _built_from(services: Services, places: Sequence[Membership]) -> list[BankRecord]:
    """Return the banks that were built from a data-set version that has the image, each once."""
    found: dict[tuple[str, int], BankRecord] = {}
    for place in places:
        for bank in services.ledger.banks(place.category):
            if place.first <= bank.dataset_version and (place.last is None or bank.dataset_version <= place.last):
                found[bank.category, bank.version] = bank
    return [found[key] for key in sorted(found)]


def _name(bank: BankRecord) -> dict[str, Any]:
    return {
        "category": bank.category,
        "bank_version": bank.version,
        "bank_sha256": bank.sha256,
        "dataset_version": bank.dataset_version,
    }


def _bank(services: Services, bank: BankRecord, sha256: str, *, fetch: bool) -> dict[str, Any]:
    role, rows = _part_in(services, bank, sha256, fetch=fetch)
    return {**_name(bank), "role": role, "rows": rows, "batches": scored_batches(services, bank)}


def _part_in(services: Services, bank: BankRecord, sha256: str, *, fetch: bool) -> tuple[str | None, int | None]:
    """Return what a bank uses a normal image for, and how many of its rows are patches of that image."""
    content = bank_content(services, bank, fetch=fetch)
    if content is None:
        return None, None
    numbers = [number for number, image in enumerate(content.images) if image["sha256"] == sha256]
    rows = np.isin(content.arrays.sources[:, 0], numbers)
    return "remembered" if numbers else "calibration", int(rows.sum())


def scored_batches(services: Services, bank: BankRecord) -> list[dict[str, Any]]:
    """Return every scoring by a bank with what it let through; None where its images lie in an archive elsewhere.

    Raises:
        Refused: An archive is not the file that was written.
    """
    found = services.ledger.scored_by(bank.category, bank.version)
    moved = [each.record for each in found if each.anomalous is None]
    sequences = {(each.batch, each.scoring): _sequence(services, each) for each in moved}
    counts = anomalous_counts(services, sequences.values())
    return [_scored(each, counts.get(sequences.get((each.record.batch, each.record.scoring), 0))) for each in found]


def _sequence(services: Services, record: BatchRecord) -> int:
    recorded = services.ledger.batch(record.batch, record.scoring)
    return recorded.sequence or 0 if recorded else 0


def _scored(found: ScoredBatch, archived: int | None) -> dict[str, Any]:
    anomalous = archived if found.anomalous is None else found.anomalous
    passed = None if anomalous is None else found.record.scored - anomalous
    return {**asdict(found.record), "anomalous": anomalous, "passed": passed, "overridden": found.overridden}
