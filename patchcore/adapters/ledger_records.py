"""What goes into the ledger and what comes out of it: plain values, no database.

Every ``at``, ``since``, ``until`` and ``scored_at`` is UTC as text, ``2026-01-31T02:13:00.000000Z``: its order as text
is its order in time. Every sha256 is 64 hexadecimal digits.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from patchcore.errors import UsageError

Action = Literal["promote", "refuse", "rollback"]
CHANGES_PRODUCTION: tuple[Action, ...] = ("promote", "rollback")


@dataclass(frozen=True)
class DatasetVersion:
    """The content of a category at one moment; ``number`` counts from 1 in each category."""

    category: str
    number: int
    sha256: str
    normals: int
    evaluation_images: int
    pointers: Mapping[str, str]
    git_commit: str | None
    who: str
    at: str


@dataclass(frozen=True)
class BankRecord:
    """A bank version of the registry, and the data-set version that it was built from."""

    category: str
    version: int
    sha256: str
    dataset_version: int
    dataset_sha256: str
    run_id: str
    git_commit: str | None
    at: str


@dataclass(frozen=True)
class Decision:
    """One entry of the promotion history; ``from_version`` was in production then, None before the first promotion."""

    id: int
    category: str
    action: Action
    from_version: int | None
    to_version: int
    bank_sha256: str
    reason: str
    forced: bool
    verdict: Mapping[str, Any]
    who: str
    at: str


@dataclass(frozen=True)
class Production:
    """The bank that scores a category, since the decision that made it so; ``until`` is None while it still does."""

    category: str
    version: int
    bank_sha256: str
    since: str
    until: str | None
    decision_id: int


@dataclass(frozen=True)
class BatchRecord:
    """A batch that was scored: by which bank, on which data-set version, where, by whom, with what outcome."""

    batch: str
    category: str
    bank_version: int
    bank_sha256: str
    dataset_version: int
    dataset_sha256: str
    threshold: float
    false_alarm_rate: float
    images_sha256: str
    received: int
    scored: int
    failed: int
    runtime: str
    code_version: str
    who: str
    scored_at: str
    flow_run_id: str | None


@dataclass(frozen=True)
class ImageScore:
    """One image of a batch: a score, or the reason why there is none; no sha256 where no byte could be read."""

    path: str
    sha256: str | None
    score: float | None
    p_value: float | None
    anomalous: bool | None
    reason: str | None


@dataclass(frozen=True)
class RecordedBatch:
    """A batch as the ledger holds it, its images sorted by path."""

    record: BatchRecord
    images: tuple[ImageScore, ...]


@dataclass(frozen=True)
class ImageRecord:
    """One scoring of an image, with the batch that it was in."""

    batch: BatchRecord
    image: ImageScore


@dataclass(frozen=True)
class Verification:
    """What ``verify`` found: whether all is well, how many records there are, what names their state, what is wrong."""

    ok: bool
    records: int
    head: str
    problems: tuple[str, ...]


def images_digest(images: Iterable[tuple[str, str | None]]) -> str:
    """Return the sha256 that names a set of images, whatever their order.

    Args:
        images: Path and sha256 of each image, paths all different.
    """
    digest = hashlib.sha256()
    for path, sha256 in sorted(images, key=lambda image: image[0]):
        digest.update(json.dumps([path, sha256]).encode() + b"\n")
    return digest.hexdigest()


def utc_text(time: datetime) -> str:
    """Return a time as the ledger writes it.

    Raises:
        UsageError: the time has no time zone.
    """
    if time.tzinfo is None:
        raise UsageError(f"time {time}", got="no time zone", expected="one", remedy="add it, such as Z or +01:00")
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def now() -> str:
    """Return the present time as the ledger writes it."""
    return utc_text(datetime.now(UTC))
