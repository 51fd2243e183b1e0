"""The records of the ledger as plain values, without the database.

Every ``at``, ``since``, ``until`` and ``scored_at`` is UTC as text, ``2026-01-31T02:13:00.000000Z``: its order as text
is its order in time. Every sha256 is 64 hexadecimal digits.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

Action = Literal["promote", "refuse", "rollback", "propose"]
CHANGES_PRODUCTION: tuple[Action, ...] = ("promote", "rollback")


class EventKind(StrEnum):
    """What an event records."""

    INGEST = "ingest"
    RETRAIN = "retrain"
    WITHDRAW = "withdraw"
    RECONCILE = "reconcile"
    REPLAY = "replay"
    EXPORT = "export"


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
class Member:
    """An image of a data-set version, by its path below the workspace; ``part`` is train, or test and the label."""

    path: str
    sha256: str
    part: str


@dataclass(frozen=True)
class Membership:
    """The data-set versions that an image is in: ``first`` to ``last``, which is None while it still is.

    ``present`` says whether one of them is what the category holds now: an earlier version may have come back.
    """

    category: str
    path: str
    part: str
    first: int
    last: int | None
    present: bool


@dataclass(frozen=True)
class BankRecord:
    """A bank version of the registry, and the data-set version that it was built from.

    ``metrics`` by name, as they were measured on the evaluation set of that digest when the bank was registered; both
    are None in records of early versions.
    """

    category: str
    version: int
    sha256: str
    dataset_version: int
    dataset_sha256: str
    run_id: str
    git_commit: str | None
    at: str
    evaluation_sha256: str | None
    metrics: Mapping[str, float | None] | None


@dataclass(frozen=True)
class Decision:
    """One entry of the promotion history.

    Attributes:
        sequence: The number of the record.
        category: The category.
        action: promote and rollback change production, refuse and propose do not.
        from_version: The bank version that was in production; None before the first promotion.
        to_version: The bank version that the decision is about.
        bank_sha256: Its digest.
        reason: Why, in words.
        forced: Whether it was decided against the gate.
        verdict: The gate's verdict, as `patchcore.evaluation.verdict_record.VerdictRecord` writes it; version 0.1 wrote
            no ``judged``. Empty for a rollback.
        proposal: The sequence of the proposal that a promotion approves; None if there was none.
        who: Who decided.
        at: When.
    """

    sequence: int
    category: str
    action: Action
    from_version: int | None
    to_version: int
    bank_sha256: str
    reason: str
    forced: bool
    verdict: Mapping[str, Any]
    proposal: int | None
    who: str
    at: str


@dataclass(frozen=True)
class Event:
    """Something that happened to a category and has no other record, such as an ingest or a retrain.

    ``action`` is one of `EventKind`, as the ledger stores it; ``summary`` holds what that kind of event records.
    """

    sequence: int
    category: str
    action: str
    summary: Mapping[str, Any]
    who: str
    at: str


@dataclass(frozen=True)
class Production:
    """The bank in production in a category, since a decision; ``until`` is None while it is in production."""

    category: str
    version: int
    bank_sha256: str
    since: str
    until: str | None
    decision: int


@dataclass(frozen=True)
class BatchRecord:
    """One scoring of a batch: the bank, the data-set version, the runtime, the user and the counts.

    ``scoring`` counts from 1 how often the batch was scored; all but the first have a ``reason``. The threshold was set
    on ``calibration_images`` normal images (None in records of early versions). ``run_id`` is that of the MLflow run
    that built the bank.
    """

    batch: str
    scoring: int
    category: str
    bank_version: int
    bank_sha256: str
    dataset_version: int
    dataset_sha256: str
    threshold: float
    false_alarm_rate: float
    calibration_images: int | None
    images_sha256: str
    received: int
    scored: int
    failed: int
    runtime: str
    code_version: str
    who: str
    scored_at: str
    run_id: str
    flow_run_id: str | None
    reason: str | None


@dataclass(frozen=True)
class ImageScore:
    """One image of a batch: a score, or the reason why there is none; sha256 is None if no byte could be read."""

    path: str
    sha256: str | None
    score: float | None
    p_value: float | None
    anomalous: bool | None
    reason: str | None


@dataclass(frozen=True)
class Override:
    """A decision about an image of a batch that a person changed; ``old`` and ``new`` say whether it is anomalous."""

    sequence: int
    batch: str
    scoring: int
    path: str
    old: bool
    new: bool
    reason: str
    who: str
    at: str


@dataclass(frozen=True)
class RecordedBatch:
    """A batch in the ledger, with its images sorted by path.

    ``sequence`` is that of its record, None if it is not recorded yet. ``archived`` says that its images are in an
    archive and no longer in the ledger.
    """

    record: BatchRecord
    images: tuple[ImageScore, ...]
    sequence: int | None = None
    archived: bool = False


@dataclass(frozen=True)
class ScoredBatch:
    """A scoring of a batch with its counts.

    ``anomalous`` is the number of anomalous images, None if they are in an archive; ``overridden`` is the number of
    images whose decision was overridden.
    """

    record: BatchRecord
    anomalous: int | None
    overridden: int


def images_digest(images: Iterable[tuple[str, str | None]]) -> str:
    """Return the sha256 that names a set of images, whatever their order.

    Args:
        images: Path and sha256 of each image, paths all different.
    """
    digest = hashlib.sha256()
    for path, sha256 in sorted(images, key=lambda image: image[0]):
        digest.update(json.dumps([path, sha256]).encode() + b"\n")
    return digest.hexdigest()
