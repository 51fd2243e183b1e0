"""Score a recorded batch again with the same bank, and compare every result with the recorded one."""

from collections.abc import Sequence
from pathlib import Path

from patchcore.adapters.ledger.records import EventKind, ImageScore, RecordedBatch
from patchcore.adapters.ledger.times import now
from patchcore.adapters.versioning.repository import code_version
from patchcore.lifecycle.batch_inputs import Found, Received, find
from patchcore.lifecycle.batch_lookup import require_batch
from patchcore.lifecycle.scoring.batches import open_scorer
from patchcore.lifecycle.scoring.results import (
    Computation,
    DifferentImage,
    ImageResult,
    MissingImage,
    ReplayRecord,
)
from patchcore.lifecycle.scoring.scoring_pipeline import in_parts
from patchcore.lifecycle.services import Services, who


def replay(services: Services, batch: str, scoring: int | None = None, folder: Path | None = None) -> ReplayRecord:
    """Score a recorded batch again with the same bank, and record the comparison in the ledger as an event.

    The images are scored in the same order and the same groups as before. The recorded scores do not change.

    Args:
        services: The opened workspace.
        batch: The name of the batch.
        scoring: Which scoring of the batch; None: the last.
        folder: Where to look, by content, for images that are not where they were.

    Returns:
        The comparison. Scores are equal only if every bit of them is.

    Raises:
        UnknownBatch: There is no such batch or scoring.
        BatchIncomplete: The batch's images are in an archive that is not here.
        InvalidBank: The bank that scored the batch is damaged.
        UnknownBank: The ledger or the registry does not have that bank any more.
    """
    recorded = require_batch(services, batch, scoring)
    record = recorded.record
    bank = open_scorer(services, record.category, record.bank_version, record.bank_sha256).bank
    # Files are scored in the order of their paths, as they were received.
    found = find(services.workspace, sorted(recorded.images, key=lambda image: image.path), folder)
    images = [Received(each.file, each.image.path, each.image.sha256) for each in found if each.file]
    parts = in_parts(bank, images, f"replay {batch}", lambda part: [*part.rows, *part.failed])
    again = {row.path: row for rows in parts for row in rows}
    compared = _compare(recorded, again, [each for each in found if each.file is None], bank.extractor.at_work)
    _record_event(services, compared)
    return compared


def _compare(
    batch: RecordedBatch, again: dict[str, ImageScore], missing: Sequence[Found], runtime: str
) -> ReplayRecord:
    record = batch.record
    pairs = [(image, again[image.path]) for image in batch.images if image.path in again]
    different = [_difference(then, now) for then, now in pairs if not _equal(then, now)]
    return ReplayRecord(
        batch=record.batch,
        scoring=record.scoring,
        category=record.category,
        bank_version=record.bank_version,
        bank_sha256=record.bank_sha256,
        dataset_version=record.dataset_version,
        threshold=record.threshold,
        received=record.received,
        ok=not different and not missing,
        equal=len(again) - len(different),
        different=tuple(different),
        missing=tuple(
            MissingImage(path=each.image.path, sha256=each.image.sha256, reason=each.reason) for each in missing
        ),
        then=Computation(at=record.scored_at, who=record.who, runtime=record.runtime, code_version=record.code_version),
        now=Computation(at=now(), who=who(), runtime=runtime, code_version=code_version()),
    )


def _equal(then: ImageScore, again: ImageScore) -> bool:
    if then.score is None or again.score is None:
        return then.score is again.score  # the text of the reason may differ: Pillow's releases word it differently
    return _result(then) == _result(again)


def _difference(then: ImageScore, again: ImageScore) -> DifferentImage:
    both = None if then.score is None or again.score is None else again.score - then.score
    return DifferentImage(
        path=then.path, sha256=then.sha256, recorded=_result(then), now=_result(again), difference=both
    )


def _result(image: ImageScore) -> ImageResult:
    return ImageResult(score=image.score, p_value=image.p_value, anomalous=image.anomalous, reason=image.reason)


def _record_event(services: Services, compared: ReplayRecord) -> None:
    whole = {"batch", "scoring", "bank_version", "bank_sha256", "ok", "received", "equal", "then", "now"}
    summary = compared.model_dump(mode="json", include=whole)
    summary |= {"different": [entry.path for entry in compared.different]}
    summary |= {"missing": [entry.path for entry in compared.missing]}
    services.ledger.record_event(compared.category, EventKind.REPLAY, summary, who=who())
