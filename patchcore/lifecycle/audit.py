"""Questions about the past, answered from the ledger: as values that a table or JSON shows."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from patchcore.adapters.ledger_records import BankRecord, Verification
from patchcore.errors import PatchcoreError, Refused, UsageError
from patchcore.files import sha256_of
from patchcore.lifecycle.bank_cache import bank_record, fetch_bank
from patchcore.lifecycle.batches import as_json
from patchcore.lifecycle.services import Services


def batch(services: Services, name: str) -> dict[str, Any]:
    """Say which bank version scored a batch, which data-set version that bank came from, and every score.

    Raises:
        Refused: there is no such batch.
    """
    found = services.ledger.batch(name)
    if found is None:
        raise Refused(
            f"no batch {name!r} in the ledger",
            got=repr(name),
            expected="a batch that was scored",
            remedy="check the name",
        )
    record = found.record
    bank = bank_record(services, record.category, record.bank_version)
    dataset = services.ledger.dataset(record.category, record.dataset_version)
    decision = next(
        (
            entry
            for entry in reversed(services.ledger.decisions_for(record.category, record.bank_version))
            if entry.action != "refuse" and entry.at <= record.scored_at
        ),
        None,
    )
    return {
        **as_json(found),
        "bank": asdict(bank),
        "dataset": asdict(dataset) if dataset else None,
        "promotion": asdict(decision) if decision else None,
    }


def image(services: Services, sha256_or_file: str) -> dict[str, Any]:
    """Return every scoring of an image, by its sha256 or by the file itself.

    Raises:
        UsageError: it is neither a sha256 nor a file.
    """
    file = Path(sha256_or_file)
    if file.is_file():
        sha256 = sha256_of(file)
    elif len(sha256_or_file) == 64 and set(sha256_or_file.lower()) <= set("0123456789abcdef"):
        sha256 = sha256_or_file.lower()
    else:
        raise UsageError(
            f"{sha256_or_file} names no image",
            got=repr(sha256_or_file),
            expected="a file, or a sha256 of 64 hexadecimal digits",
            remedy="check the path",
        )
    records = [
        {**asdict(entry.image), **{key: value for key, value in asdict(entry.batch).items() if key != "path"}}
        for entry in services.ledger.image(sha256)
    ]
    return {"sha256": sha256, "records": records}


def bank(services: Services, category: str, version: int) -> dict[str, Any]:
    """Return a bank version, the decisions about it and the batches that it scored: what a recall needs.

    Its certificate says how it came by its rows, and how far from them a patch of its images can be; it is None where
    the bank itself is not to be had.

    Raises:
        Refused: there is no such version.
    """
    record = bank_record(services, category, version)
    return {
        "category": category,
        "bank_version": version,
        "bank_sha256": record.sha256,
        "dataset_version": record.dataset_version,
        "dataset_sha256": record.dataset_sha256,
        "certificate": _certificate(services, record),
        "decisions": [asdict(entry) for entry in services.ledger.decisions_for(category, version)],
        "batches": [asdict(entry) for entry in services.ledger.batches_of_bank(category, version)],
    }


def _certificate(services: Services, record: BankRecord) -> dict[str, Any] | None:
    try:
        bank = fetch_bank(services, record.category, record.version, record.sha256)
    except PatchcoreError:  # the ledger answers all the same
        return None
    coreset = bank.config.coreset.model_dump()
    return {name: coreset[name] for name in ("radius", "rows", "patches", "arrivals", "rows_added", "rows_merged")}


def at(services: Services, category: str, time: str) -> dict[str, Any]:
    """Return what was in production at a time; a time without a zone is UTC.

    Raises:
        UsageError: the time cannot be read.
        Refused: nothing was in production then.
    """
    from datetime import UTC

    try:
        moment = datetime.fromisoformat(time)
    except ValueError as error:
        expected = "a time such as 2026-11-22T02:13 or 2026-11-22T02:13:00+01:00"
        raise UsageError(f"{time!r} is no time", got=repr(time), expected=expected, remedy="write it so") from error
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    found = services.ledger.production_at(category, moment)
    if found is None:
        raise Refused(
            f"{category} had no bank in production at {moment.isoformat()}",
            got="no promotion before that time",
            expected="a time after the first promotion",
            remedy="name a later time",
        )
    return {
        "category": category,
        "at": moment.isoformat(),
        "bank_version": found.version,
        "bank_sha256": found.bank_sha256,
        "since": found.since,
        "until": found.until,
    }


def verify(services: Services) -> Verification:
    """Check that the ledger is whole, and say what is not."""
    return services.ledger.verify()
