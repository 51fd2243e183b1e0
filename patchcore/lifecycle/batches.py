"""Scoring a batch: which bank, what it says of every image, written down before it is reported.

received = scored + failed, always: an image that cannot be read is recorded with the reason.
The ledger comes first, the folder of results after it: a score that is not in the ledger is not reported as done.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchcore.adapters.ledger_records import BatchRecord, ImageScore, Production, RecordedBatch, images_digest, now
from patchcore.adapters.versioning import code_version
from patchcore.bank import MemoryBank
from patchcore.errors import Fault, Refused
from patchcore.files import new_folder, sha256_of, write_json
from patchcore.heatmap import Tile, contact_sheet, most_anomalous, overlay, write_image
from patchcore.images import UnreadableImage, list_images, load_known
from patchcore.layout import CONTACT_SHEET, HEATMAPS, RESULTS, RESULTS_TABLE, Workspace
from patchcore.lifecycle.bank_cache import bank_record, fetch_bank
from patchcore.lifecycle.services import Services, who
from patchcore.parallel import in_order, one_blas_thread
from patchcore.progress import progress

_BATCH_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"


@dataclass(frozen=True)
class Received:
    """One file of a batch: the name it is recorded under, and its digest."""

    file: Path
    path: str
    sha256: str | None


@dataclass(frozen=True)
class Scorer:
    """The bank that scores a batch, with its number and where it came from."""

    bank: MemoryBank
    version: int
    dataset_version: int
    dataset_sha256: str
    run_id: str


def receive(workspace: Workspace, folder: Path) -> list[Received]:
    """List the files of a batch with their digests.

    Raises:
        Refused: the folder is missing or empty.
    """
    files = list_images(folder)
    if not files:
        got = "an empty folder" if folder.is_dir() else "no such folder"
        raise Refused(f"no batch in {folder}", got=got, expected="a folder with images", remedy="check the path")
    return [Received(file, _recorded_name(workspace, file), _digest(file)) for file in files]


def resolve(services: Services, category: str) -> Production:
    """Return what is in production, the bank fetched to this machine.

    Raises:
        Refused: no bank is in production, or what the registry holds is not that bank.
    """
    production = services.ledger.production(category)
    if production is None:
        raise Refused(
            f"{category} has no bank in production",
            got="no promotion in the ledger",
            expected="a bank that passed the gate",
            remedy=f"run: patchcore retrain {category}",
        )
    fetch_bank(services, category, production.version, production.bank_sha256)
    return production


def open_scorer(services: Services, category: str, version: int, bank_sha256: str) -> Scorer:
    """Load a bank version, its digests checked.

    Raises:
        Refused: it is not to be had, or is damaged.
    """
    bank = fetch_bank(services, category, version, bank_sha256)
    origin = bank_record(services, category, version)
    return Scorer(bank, version, origin.dataset_version, origin.dataset_sha256, origin.run_id)


def recorded(services: Services, batch: str, category: str, images: Sequence[Received]) -> RecordedBatch | None:
    """Return the batch if it was scored already from the same images by the bank in production.

    Raises:
        Refused: the name is not a batch's name, or the batch was scored from other images or by another bank.
    """
    if not re.fullmatch(_BATCH_NAME, batch):
        expected = "letters, digits, dot, dash and underscore, at most 128"
        raise Refused(f"{batch!r} cannot name a batch", got=repr(batch), expected=expected, remedy="rename it")
    known = services.ledger.batch(batch)
    if known is None:
        return None
    record, production = known.record, services.ledger.production(category)
    same_images = record.images_sha256 == images_digest((image.path, image.sha256) for image in images)
    same_bank = production is not None and record.bank_sha256 == production.bank_sha256
    if same_images and same_bank and record.category == category:
        return known
    raise Refused(
        f"batch {batch} was scored already, on {record.scored_at} by bank version {record.bank_version} "
        f"of {record.category}",
        got="other images" if not same_images else f"another bank, now in production for {category}",
        expected="a new batch, or the same one again",
        remedy="give this batch a name of its own",
    )


def score_batch(
    services: Services, scorer: Scorer, batch: str, images: Sequence[Received], *, flow_run_id: str | None
) -> RecordedBatch:
    """Score a batch, write it to the ledger, then show its results in the batch's folder.

    Raises:
        Refused: the batch's name is taken.
        Fault: the ledger cannot be written, and the batch is not scored; or the folder cannot be, and the batch is in
            the ledger: the same command again draws its results.
    """
    with _results_folder(services.workspace, batch) as folder:
        rows = _score_all(scorer.bank, images, folder, batch)
        # What the ledger holds is what counts: of two runs at once it keeps the first.
        record = services.ledger.record_batch(_record(scorer, batch, images, rows, flow_run_id), rows)
        result = RecordedBatch(record, tuple(rows))
        _write_results(folder, result)
    return result


def restore_results(services: Services, known: RecordedBatch, images: Sequence[Received]) -> None:
    """Draw the results of a recorded batch again where a crash or a clean-up took their folder.

    Raises:
        Refused: the bank of then is not to be had.
        Fault: the folder cannot be written.
    """
    record = known.record
    if services.workspace.batch(record.batch).is_dir():
        return
    scorer = open_scorer(services, record.category, record.bank_version, record.bank_sha256)
    with _results_folder(services.workspace, record.batch) as folder:
        _score_all(scorer.bank, images, folder, record.batch)
        _write_results(folder, known)


def as_json(recorded_batch: RecordedBatch) -> dict[str, Any]:
    """Return a batch by the names of the command's contract."""
    record = asdict(recorded_batch.record)
    scored = [asdict(image) for image in recorded_batch.images if image.reason is None]
    failed = [image for image in recorded_batch.images if image.reason is not None]
    return {
        **record,
        "images": [{key: value for key, value in image.items() if key != "reason"} for image in scored],
        "failed": [{"path": image.path, "sha256": image.sha256, "reason": image.reason} for image in failed],
    }


@contextmanager
def _results_folder(workspace: Workspace, batch: str) -> Iterator[Path]:
    """Yield the folder of a batch's results before anybody sees it."""
    target = workspace.batch(batch)
    try:
        with new_folder(target) as folder:
            yield folder
    except OSError as error:
        raise Fault(
            f"the results of batch {batch} cannot be written to {target}",
            got=error.strerror or str(error),
            expected="a folder that can be written",
            remedy="make room, then run the same command again",
        ) from error


def _score_all(bank: MemoryBank, images: Sequence[Received], folder: Path, batch: str) -> list[ImageScore]:
    # Each thread takes a few images from their bytes to their heatmaps: all cores are at work whatever is slow,
    # and no more images are in memory than are being worked on.
    step = bank.config.extractor.batch_size
    parts = (images[start : start + step] for start in range(0, len(images), step))
    rows: list[ImageScore] = []
    tiles: list[Tile] = []
    with progress(f"score {batch}", len(images)) as advance, one_blas_thread():
        for scored, shown in in_order(lambda part: _score_part(bank, part, folder / HEATMAPS), parts):
            rows += scored
            tiles = most_anomalous([*tiles, *shown])  # a sheet shows no more: memory does not grow with the batch
            advance(len(rows))
    if tiles:
        title = f"{bank.config.category}, batch {batch}: {len(images)} images"
        write_image(folder / CONTACT_SHEET, contact_sheet(tiles, title))
    return sorted(rows, key=lambda row: row.path)


def _score_part(bank: MemoryBank, images: Sequence[Received], heatmaps: Path) -> tuple[list[ImageScore], list[Tile]]:
    """Score a few images in the calling thread, and draw those that could be read."""
    readable, rows = _read(images, bank.config.extractor.image_size)
    tiles: list[Tile] = []
    if not readable:
        return rows, tiles
    scores = bank.score([pixels for _, pixels in readable])
    p_values, anomalous, maps = bank.p_values(scores.image), bank.anomalous(scores.image), bank.anomaly_maps(scores)
    for number, (image, pixels) in enumerate(readable):
        picture = overlay(pixels, maps[number], bank.threshold)
        write_image(heatmaps / f"{image.file.stem[:100]}-{(image.sha256 or '')[:8]}.png", picture)
        score, p_value, decision = float(scores.image[number]), float(p_values[number]), bool(anomalous[number])
        tiles.append(Tile(picture, image.file.name, score, p_value, decision))
        rows.append(ImageScore(image.path, image.sha256, score, p_value, decision, None))
    return rows, tiles


def _read(images: Sequence[Received], side: int) -> tuple[list[tuple[Received, NDArray[np.uint8]]], list[ImageScore]]:
    readable, failed = [], []
    for image in images:
        try:
            readable.append((image, load_known(image.file, image.sha256 or "", side)))
        except UnreadableImage as error:
            reason = f"got {error.got}, expected {error.expected}"
            failed.append(ImageScore(image.path, image.sha256, None, None, None, reason))
    return readable, failed


def _record(
    scorer: Scorer, batch: str, images: Sequence[Received], rows: Sequence[ImageScore], flow_run_id: str | None
) -> BatchRecord:
    config = scorer.bank.config
    failed = sum(row.reason is not None for row in rows)
    return BatchRecord(
        batch=batch,
        scoring=1,
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
        reason=None,
    )


def _write_results(folder: Path, batch: RecordedBatch) -> None:
    import pandas as pd

    write_json(folder / RESULTS, as_json(batch))
    table = pd.DataFrame([asdict(image) for image in batch.images])
    table.assign(batch=batch.record.batch, bank_version=batch.record.bank_version).to_parquet(
        folder / RESULTS_TABLE, index=False
    )


def _recorded_name(workspace: Workspace, file: Path) -> str:
    """Return a path below the workspace as it is there, any other one in full; links are left as they are."""
    full = file.absolute()
    name = workspace.relative(full) if full.is_relative_to(workspace.root) else full.as_posix()
    # A name that is not UTF-8 has its odd bytes written out: a database takes text.
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def _digest(file: Path) -> str | None:
    try:
        return sha256_of(file)
    except OSError:
        return None
