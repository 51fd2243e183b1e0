"""What was said of an image, each time that it was scored."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from patchcore._util.files import sha256_of
from patchcore.adapters.ledger.records import BatchRecord, ImageScore
from patchcore.errors import UsageError
from patchcore.lifecycle.archived_images import missing_archives, scorings_of_image
from patchcore.lifecycle.services import Services

_DIGITS = frozenset("0123456789abcdef")

_Scoring = tuple[str, int, str]
"""Of an image: the batch, which scoring of it, and the path."""


def image(services: Services, sha256_or_file: str) -> dict[str, Any]:
    """Return every scoring of an image, by its sha256 or by the file itself, with the overrides of its decision.

    ``archives_missing`` names the archives that are not here: they may hold scorings of it that are not shown.

    Raises:
        UsageError: It is neither a sha256 nor a file.
    """
    sha256 = sha256_named(sha256_or_file)
    moved = _archived(services, sha256)
    scorings = moved + [(entry.batch, entry.image) for entry in services.ledger.image(sha256)]
    overrides = _overrides(services, sha256, {batch.batch for batch, _ in moved})
    records = [
        {
            **asdict(batch),
            **asdict(image),
            "rescore_reason": batch.reason,
            "overrides": overrides[batch.batch, batch.scoring, image.path],
        }
        for batch, image in scorings
    ]
    return {"sha256": sha256, "records": records, "archives_missing": missing_archives(services)}


def sha256_named(sha256_or_file: str) -> str:
    """Return the sha256 of an image that is named by it or by its file.

    Raises:
        UsageError: It is neither.
    """
    file = Path(sha256_or_file)
    if file.is_file():
        return sha256_of(file)
    if len(sha256_or_file) == 64 and _DIGITS.issuperset(sha256_or_file.lower()):
        return sha256_or_file.lower()
    raise UsageError(
        f"{sha256_or_file} names no image",
        got=repr(sha256_or_file),
        expected="a file, or a sha256 of 64 hexadecimal digits",
        remedy="check the path; tables shorten a sha256, --json does not",
    )


def _archived(services: Services, sha256: str) -> list[tuple[BatchRecord, ImageScore]]:
    """Return the scorings of an image in archives that are at hand: they are older than all others."""
    moved = scorings_of_image(services, sha256)
    batches = services.ledger.batches_at({batch for batch, _ in moved})
    return [(batches[batch], image) for batch, image in moved]


def _overrides(services: Services, sha256: str, archived: Collection[str]) -> dict[_Scoring, list[dict[str, Any]]]:
    """Return what people decided otherwise, by scoring: about the image, and about all of archived batches."""
    entries = {entry.sequence: entry for entry in services.ledger.overrides_of_image(sha256)}
    entries |= {entry.sequence: entry for batch in archived for entry in services.ledger.overrides(batch)}
    found: dict[_Scoring, list[dict[str, Any]]] = defaultdict(list)
    for _, entry in sorted(entries.items()):
        found[entry.batch, entry.scoring, entry.path].append(asdict(entry))
    return found
