"""Explain the score of an image of a recorded batch: its worst patch, and the nearest normal patch of the bank."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchcore.adapters.ledger.records import ImageScore, RecordedBatch
from patchcore.adapters.versioning.dvc_cache import kept_file
from patchcore.bank import explanation
from patchcore.bank.explanation import Explanation, Patch
from patchcore.errors import BatchIncomplete, UnknownImage, UnreadableImage
from patchcore.images.decoding import load_known
from patchcore.lifecycle.batch_inputs import find
from patchcore.lifecycle.batch_lookup import require_batch, require_image
from patchcore.lifecycle.scoring.batches import open_scorer
from patchcore.lifecycle.scoring.explain_picture import draw_explanation
from patchcore.lifecycle.scoring.results import Box, ExplainResult, NearestPatch, PatchPosition
from patchcore.lifecycle.services import Services

Pixels = NDArray[np.uint8]


def explain(
    services: Services,
    batch: str,
    image: str,
    *,
    output: Path | None = None,
    scoring: int | None = None,
    folder: Path | None = None,
) -> ExplainResult:
    """Explain the score of an image of a batch, with the bank that gave it.

    Args:
        services: The opened workspace.
        batch: The name of the batch.
        image: The path as recorded, the file name, or the sha256 of the image.
        output: The PNG file to draw a picture in; None: no picture.
        scoring: Which scoring of the batch; None: the last.
        folder: Where to look for the image, by content, if it is not where it was.

    Raises:
        UnknownBatch: There is no such batch or scoring.
        UnknownImage: No image of the batch, or several, have that name; or it could not be scored.
        BatchIncomplete: The file of the image is missing or changed.
        InvalidBank: The bank that scored the batch is damaged.
        UnknownBank: The ledger or the registry does not have that bank any more.
        CannotWrite: The picture cannot be written.
    """
    recorded = require_batch(services, batch, scoring)
    chosen = require_image(recorded, image)
    score = _require_score(recorded, chosen)
    file = _file_of(services, recorded, chosen, folder)
    record = recorded.record
    bank = open_scorer(services, record.category, record.bank_version, record.bank_sha256).bank
    pixels = load_known(file, chosen.sha256 or "", None)
    found = explanation.explain(bank, pixels)
    source, normal = _source(services, recorded, found)
    if output is not None:
        draw_explanation(services, output, recorded, chosen, found, pixels, normal)
    return ExplainResult(
        batch=record.batch,
        scoring=record.scoring,
        category=record.category,
        bank_version=record.bank_version,
        bank_sha256=record.bank_sha256,
        dataset_version=record.dataset_version,
        threshold=record.threshold,
        path=chosen.path,
        sha256=chosen.sha256,
        score=score,
        score_now=found.score,
        p_value=chosen.p_value,
        anomalous=chosen.anomalous,
        position=_position(found.patch, pixels),
        nearest=NearestPatch(
            row=found.bank_row,
            distance=found.distance,
            path=found.source_path,
            sha256=found.source_sha256,
            position=_position(found.source_patch, normal),
            file=None if source is None else str(source),
        ),
        picture=None if output is None else str(output),
    )


def _require_score(batch: RecordedBatch, image: ImageScore) -> float:
    if image.score is None:
        raise UnknownImage(
            f"{image.path} in batch {batch.record.batch} has no score to explain",
            got=f"an image that failed: {image.reason}",
            expected="an image that was scored",
            remedy="name another image",
        )
    return image.score


def _file_of(services: Services, batch: RecordedBatch, image: ImageScore, folder: Path | None) -> Path:
    (found,) = find(services.workspace, [image], folder)
    if found.file is None:
        raise BatchIncomplete(
            f"the file of {image.path} in batch {batch.record.batch} is not available",
            got=found.reason or "no file",
            expected=f"a file with sha256 {image.sha256}",
            remedy="name the folder where it is now with --folder FOLDER",
        )
    return found.file


def _source(services: Services, batch: RecordedBatch, found: Explanation) -> tuple[Path | None, Pixels | None]:
    """Return a file with the bytes of the normal image that the nearest row comes from, and its pixels."""
    for file in _candidates(services, batch, found):
        try:
            return file, load_known(file, found.source_sha256, None)
        except UnreadableImage:
            continue
    return None, None


def _candidates(services: Services, batch: RecordedBatch, found: Explanation) -> Iterator[Path]:
    """Yield where the normal image was when the bank was built, where it was later, and DVC's copy of it."""
    workspace, record = services.workspace, batch.record
    yield workspace.root / found.source_path
    for membership in services.ledger.memberships(found.source_sha256):
        yield workspace.root / membership.path
    dataset = services.ledger.dataset(record.category, record.dataset_version)
    if dataset and (kept := kept_file(workspace, dataset.pointers, found.source_path)):
        yield kept


def _position(patch: Patch, image: Pixels | None) -> PatchPosition:
    if image is None:
        return PatchPosition(row=patch.row, column=patch.column, box=None)
    height, width = image.shape[:2]
    left, top, right, bottom = patch.box(width, height)
    return PatchPosition(row=patch.row, column=patch.column, box=Box(left=left, top=top, right=right, bottom=bottom))
