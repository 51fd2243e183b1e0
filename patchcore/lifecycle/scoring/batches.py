"""Scoring a batch: which bank, what it says of every image, written down before it is reported.

received = scored + failed, always: an image that cannot be read is recorded with the reason.
The ledger comes first, the folder of results after it: a score that is not in the ledger is not reported as done.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patchcore.adapters.ledger.records import (
    BatchRecord,
    ImageScore,
    Production,
    RecordedBatch,
    images_digest,
)
from patchcore.adapters.ledger.times import now
from patchcore.adapters.versioning.repository import code_version
from patchcore.bank.memory_bank import MemoryBank
from patchcore.config.workspace import CONTACT_SHEET, HEATMAPS
from patchcore.errors import Refused
from patchcore.lifecycle.bank_cache import bank_record, fetch_bank
from patchcore.lifecycle.batch_inputs import Received, receive
from patchcore.lifecycle.batch_lookup import find_batch
from patchcore.lifecycle.scoring.result_files import as_json, publish, staged_results
from patchcore.lifecycle.scoring.scoring_pipeline import Part, in_parts
from patchcore.lifecycle.services import Services, who
from patchcore.rendering.heatmap import Tile, contact_sheet, most_anomalous, overlay, write_image

__all__ = [
    "Received",
    "Scorer",
    "as_json",
    "open_scorer",
    "receive",
    "recorded",
    "resolve",
    "restore_results",
    "score_batch",
]

_BATCH_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"


@dataclass(frozen=True)
class Scorer:
    """The bank that scores a batch, with its number and where it came from."""

    bank: MemoryBank
    version: int
    dataset_version: int
    dataset_sha256: str
    run_id: str


def resolve(services: Services, category: str) -> Production:
    """Return what is in production: a number and a digest, once, for all that follows.

    Raises:
        Refused: no bank is in production.
    """
    production = services.ledger.production(category)
    if production is None:
        raise Refused(
            f"{category} has no bank in production",
            got="no promotion in the ledger",
            expected="a bank that passed the gate",
            remedy=f"run: patchcore retrain {category}",
        )
    return production


def open_scorer(services: Services, category: str, version: int, bank_sha256: str) -> Scorer:
    """Load a bank version, its digests checked.

    Raises:
        Refused: it is not to be had, or is damaged.
    """
    bank = fetch_bank(services, category, version, bank_sha256)
    origin = bank_record(services, category, version)
    return Scorer(bank, version, origin.dataset_version, origin.dataset_sha256, origin.run_id)


def recorded(
    services: Services,
    batch: str,
    category: str,
    images: Sequence[Received],
    bank_sha256: str,
    reason: str | None = None,
) -> RecordedBatch | None:
    """Return the batch if that is recorded which is asked for: the same images by the same bank, as scored last.

    Args:
        services: the opened workspace.
        batch: the name.
        category: of the images.
        images: of the batch.
        bank_sha256: of the bank that is to score it.
        reason: why it is to be scored again; None: it is not. A scoring with another reason is another scoring. The
            same reason right after is the same command, run again after a crash.

    Raises:
        Refused: the name is not a batch's name, or stands for a batch of another category; without a reason: the batch
            was scored from other images or by another bank; with one: it was not scored before.
    """
    if not re.fullmatch(_BATCH_NAME, batch):
        expected = "letters, digits, dot, dash and underscore, at most 128"
        raise Refused(f"{batch!r} cannot name a batch", got=repr(batch), expected=expected, remedy="rename it")
    known = find_batch(services, batch)
    if known is None:
        if reason is not None:
            raise _never_scored(batch)
        return None
    record = known.record
    same_images = record.images_sha256 == images_digest((image.path, image.sha256) for image in images)
    same_bank = record.bank_sha256 == bank_sha256
    if record.category != category or (reason is None and not (same_images and same_bank)):
        raise _taken(record, category, same_images=same_images)
    if reason is None or (same_images and same_bank and reason == record.reason):
        return known
    return None


def score_batch(
    services: Services,
    scorer: Scorer,
    batch: str,
    images: Sequence[Received],
    *,
    flow_run_id: str | None,
    reason: str | None = None,
) -> RecordedBatch:
    """Score a batch, write it to the ledger, then show its results in the scoring's folder.

    Args:
        services: the opened workspace.
        scorer: the bank.
        batch: the name.
        images: of the batch.
        flow_run_id: of the flow that does it.
        reason: why it is scored again; None: it is not.

    Raises:
        Refused: the batch's name is taken.
        Fault: the ledger cannot be written, and the batch is not scored; or the folder cannot be, and the batch is in
            the ledger: the same command again draws its results.
    """
    with staged_results(services.workspace, batch) as folder:
        rows = _score_and_draw(scorer.bank, images, folder, batch)
        wanted = _record(scorer, batch, images, rows, flow_run_id, reason)
        # What the ledger holds is what counts: of two runs at once it keeps the first.
        record = services.ledger.record_batch(wanted, rows, rescored=reason is not None)
        result = find_batch(services, batch, record.scoring) or RecordedBatch(record, tuple(rows))
        publish(folder, services.workspace, result, services.ledger.scorings(batch))
    return result


def restore_results(services: Services, known: RecordedBatch, images: Sequence[Received]) -> None:
    """Draw the results of a recorded batch again where a crash or a clean-up took their folder.

    Raises:
        Refused: the bank of then is not to be had.
        Fault: the folder cannot be written.
    """
    record, workspace = known.record, services.workspace
    if workspace.batch(record.batch, record.scoring).is_dir() or not known.images:  # they are in an archive, elsewhere
        return
    scorer = open_scorer(services, record.category, record.bank_version, record.bank_sha256)
    with staged_results(workspace, record.batch) as folder:
        _score_and_draw(scorer.bank, images, folder, record.batch)
        publish(folder, workspace, known, services.ledger.scorings(record.batch)[: record.scoring])


def _score_and_draw(bank: MemoryBank, images: Sequence[Received], folder: Path, batch: str) -> list[ImageScore]:
    rows: list[ImageScore] = []
    tiles: list[Tile] = []
    for scored, shown in in_parts(bank, images, f"score {batch}", lambda part: _draw(bank, part, folder / HEATMAPS)):
        rows += scored
        tiles = most_anomalous([*tiles, *shown])  # a sheet shows no more: memory does not grow with the batch
    if tiles:
        title = f"{bank.config.category}, batch {batch}: {len(images)} images"
        write_image(folder / CONTACT_SHEET, contact_sheet(tiles, title))
    return sorted(rows, key=lambda row: row.path)


def _draw(bank: MemoryBank, part: Part, heatmaps: Path) -> tuple[list[ImageScore], list[Tile]]:
    """Draw those of a few images that could be read."""
    tiles: list[Tile] = []
    if part.scores is None:
        return list(part.failed), tiles
    maps = bank.anomaly_maps(part.scores)
    for image, pixels, row, anomaly_map in zip(part.images, part.pixels, part.rows, maps, strict=True):
        picture = overlay(pixels, anomaly_map, bank.threshold)
        write_image(heatmaps / heatmap_name(image), picture)
        tiles.append(Tile(picture, image.file.name, row.score or 0.0, row.p_value or 0.0, bool(row.anomalous)))
    return [*part.rows, *part.failed], tiles


def heatmap_name(image: Received) -> str:
    """Return the file name of an image's heatmap: that of the image, as far as a file system takes it, and its digest.

    A name has 255 bytes at most; of letters beyond ASCII that is fewer than 255.
    """
    stem = image.file.stem.encode(errors="replace")[:200].decode(errors="ignore")
    return f"{stem}-{(image.sha256 or '')[:8]}.png"


def _record(
    scorer: Scorer,
    batch: str,
    images: Sequence[Received],
    rows: Sequence[ImageScore],
    flow_run_id: str | None,
    reason: str | None,
) -> BatchRecord:
    config = scorer.bank.config
    failed = sum(row.reason is not None for row in rows)
    return BatchRecord(
        batch=batch,
        scoring=1,  # the ledger counts
        category=config.category,
        bank_version=scorer.version,
        bank_sha256=scorer.bank.sha256,
        dataset_version=scorer.dataset_version,
        dataset_sha256=scorer.dataset_sha256,
        threshold=scorer.bank.threshold,
        false_alarm_rate=config.threshold.guaranteed_rate,
        calibration_images=len(scorer.bank.arrays.calibration),
        images_sha256=images_digest((image.path, image.sha256) for image in images),
        received=len(images),
        scored=len(rows) - failed,
        failed=failed,
        runtime=scorer.bank.extractor.at_work,
        code_version=code_version(),
        who=who(),
        scored_at=now(),
        run_id=scorer.run_id,
        flow_run_id=flow_run_id,
        reason=reason,
    )


def _never_scored(batch: str) -> Refused:
    return Refused(
        f"batch {batch} cannot be scored again",
        got="no record of it",
        expected="a batch that was scored",
        remedy="check the name, or leave out --rescore",
    )


def _taken(record: BatchRecord, category: str, *, same_images: bool) -> Refused:
    remedy = "give this batch a name of its own"
    if record.category != category:
        got = f"images of {category}"
    else:
        got = f"another bank, now in production for {category}" if same_images else "other images"
        remedy += ", or score it again with --rescore --reason TEXT"
    return Refused(
        f"batch {record.batch} was scored already, on {record.scored_at} by bank version {record.bank_version} "
        f"of {record.category}",
        got=got,
        expected="a new batch, or the same one again",
        remedy=remedy,
    )
