"""Every scoring of an image."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from patchcore._util.files import sha256_of
from patchcore.adapters.ledger.records import BatchRecord, ImageScore, Override
from patchcore.errors import UsageError
from patchcore.lifecycle.archived_images import missing_archives, scorings_of_image
from patchcore.lifecycle.audit.results import ImageAnswer, ImageScoring, scoring_fields
from patchcore.lifecycle.services import Services

_DIGITS = frozenset("0123456789abcdef")

_Scoring = tuple[str, int, str]
"""The batch, the number of its scoring, and the path of the image."""


def image(services: Services, sha256_or_file: str) -> ImageAnswer:
    """Return every scoring of an image, oldest first, with the overrides of each decision.

    Args:
        services: The opened workspace.
        sha256_or_file: The digest of the image, or its path.

    Raises:
        UsageError: The text is neither a sha256 nor a file.
        InvalidArchive: An archive is not the file that was written.
    """
    sha256 = sha256_named(sha256_or_file)
    moved = _archived(services, sha256)
    scorings = moved + [(entry.batch, entry.image) for entry in services.ledger.image(sha256)]
    overrides = _overrides(services, sha256, {batch.batch for batch, _ in moved})
    records = [_record(batch, image, overrides[batch.batch, batch.scoring, image.path]) for batch, image in scorings]
    return ImageAnswer(sha256=sha256, records=tuple(records), archives_missing=tuple(missing_archives(services)))


def _record(batch: BatchRecord, image: ImageScore, overrides: Sequence[Override]) -> ImageScoring:
    return ImageScoring.model_validate(
        {
            **scoring_fields(batch),
            **vars(image),
            "rescore_reason": batch.reason,
            "overrides": tuple(overrides),
        }
    )


def sha256_named(sha256_or_file: str) -> str:
    """Return the sha256 of an image from the digest itself or the path of a file.

    Raises:
        UsageError: The text is neither.
    """
    file = Path(sha256_or_file)
    if file.is_file():
        return sha256_of(file)
    if len(sha256_or_file) == 64 and _DIGITS.issuperset(sha256_or_file.lower()):
        return sha256_or_file.lower()
    raise UsageError(
        f"{sha256_or_file} is not an image",
        got=repr(sha256_or_file),
        expected="a file, or a sha256 of 64 hexadecimal digits",
        remedy="check the path; tables shorten a sha256, --json does not",
    )


def _archived(services: Services, sha256: str) -> list[tuple[BatchRecord, ImageScore]]:
    """Return the scorings of an image in the available archives; they are older than all others."""
    moved = scorings_of_image(services, sha256)
    batches = services.ledger.batches_at({batch for batch, _ in moved})
    return [(batches[batch], image) for batch, image in moved]


def _overrides(services: Services, sha256: str, archived: Collection[str]) -> dict[_Scoring, list[Override]]:
    """Return the overrides of an image, and of all images of archived batches, by scoring."""
    entries = {entry.sequence: entry for entry in services.ledger.overrides_of_image(sha256)}
    entries |= {entry.sequence: entry for batch in archived for entry in services.ledger.overrides(batch)}
    found: dict[_Scoring, list[Override]] = defaultdict(list)
    for _, entry in sorted(entries.items()):
        found[entry.batch, entry.scoring, entry.path].append(entry)
    return found
