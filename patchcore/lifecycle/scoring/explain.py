"""Why an image of a recorded batch has its score: its worst patch, beside the nearest normal patch of the bank."""

import io
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchcore._util.files import write_bytes
from patchcore.adapters.ledger.records import ImageScore, Override, RecordedBatch
from patchcore.adapters.versioning.dvc_cache import kept_file
from patchcore.bank import explanation
from patchcore.bank.explanation import Explanation
from patchcore.errors import Fault, Refused, UnreadableImage
from patchcore.images.decoding import load_known
from patchcore.lifecycle.batch_inputs import find
from patchcore.lifecycle.batch_lookup import require_batch, require_image
from patchcore.lifecycle.scoring.batches import open_scorer
from patchcore.lifecycle.services import Services
from patchcore.rendering.explanation_sheet import Shown, explanation_sheet

Pixels = NDArray[np.uint8]


def explain(
    services: Services,
    batch: str,
    image: str,
    *,
    output: Path | None = None,
    scoring: int | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Explain the score of an image of a batch, with the bank that gave it.

    Args:
        services: the opened workspace.
        batch: the batch's name.
        image: its path as recorded, its file name, or its sha256.
        output: where to draw a PNG; None: nowhere.
        scoring: which scoring of the batch; None: the last.
        folder: where to look for the image, by content, if it is not where it was.

    Raises:
        Refused: there is no such image, it could not be scored, it is not to be had any more, or the bank of then is
            not.
        Fault: the picture cannot be written.
    """
    recorded = require_batch(services, batch, scoring)
    chosen = require_image(recorded, image)
    file = _file_of(services, recorded, chosen, folder)
    record = recorded.record
    bank = open_scorer(services, record.category, record.bank_version, record.bank_sha256).bank
    sha256 = chosen.sha256 or ""
    found = explanation.explain(bank, load_known(file, sha256, bank.config.extractor.image_size))
    whole = load_known(file, sha256, None)
    source = _source(services, recorded, found)
    normal = None if source is None else load_known(source, found.source_sha256, None)
    if output is not None:
        _draw(output, _facts(services, recorded, chosen), chosen, found, whole, normal, record.threshold)
    return _as_json(recorded, chosen, found, whole, source, normal, output)


def _file_of(services: Services, batch: RecordedBatch, image: ImageScore, folder: Path | None) -> Path:
    name = f"{image.path} in batch {batch.record.batch}"
    if image.score is None:
        what, got = f"{name} has no score to explain", f"an image that failed: {image.reason}"
        raise Refused(what, got=got, expected="an image that was scored", remedy="name another one")
    (found,) = find(services.workspace, [image], folder)
    if found.file is None:
        what, expected = f"{name} is not to be had", f"the file of sha256 {image.sha256}"
        remedy = "say where it is now with --folder FOLDER"
        raise Refused(what, got=found.reason or "no file", expected=expected, remedy=remedy)
    return found.file


def _source(services: Services, batch: RecordedBatch, found: Explanation) -> Path | None:
    """Return a file with the bytes of the normal image that the nearest row comes from; None where there is none."""
    for file in _candidates(services, batch, found):
        try:
            load_known(file, found.source_sha256, None)
        except UnreadableImage:
            continue
        return file
    return None


def _candidates(services: Services, batch: RecordedBatch, found: Explanation) -> Iterator[Path]:
    """Yield where the image was when the bank was built, where it was at other times, and what DVC keeps of it."""
    workspace, record = services.workspace, batch.record
    yield workspace.root / found.source_path
    for membership in services.ledger.memberships(found.source_sha256):
        yield workspace.root / membership.path
    dataset = services.ledger.dataset(record.category, record.dataset_version)
    if dataset and (kept := kept_file(workspace, dataset.pointers, found.source_path)):
        yield kept


def _facts(services: Services, batch: RecordedBatch, image: ImageScore) -> list[str]:
    """Return what the sheet says in words: the bank's decision, which scoring it was, what a person said last."""
    record = batch.record
    said = [
        entry
        for entry in services.ledger.overrides(record.batch)
        if (entry.scoring, entry.path) == (record.scoring, image.path)
    ]
    return [
        f"{_decision(image.anomalous)}: score {image.score:.4f}, threshold {record.threshold:.4f}, "
        f"p-value {image.p_value:.4f}",
        f"batch {record.batch}, scoring {record.scoring}, {record.category}, bank version {record.bank_version}, "
        f"scored {_moment(record.scored_at)}",
        *textwrap.wrap("".join(_changed(entry) for entry in said[-1:]), 100),
    ]


def _changed(entry: Override) -> str:
    return f"{entry.who} decided {_decision(entry.new)}, {_moment(entry.at)}: {entry.reason}"


def _moment(at: str) -> str:
    """Return a recorded time as tables show it: 2026-01-31 02:13:00.250000Z."""
    return at.replace("T", " ")


def _decision(anomalous: bool | None) -> str:
    return "ANOMALOUS" if anomalous else "normal"


def _draw(
    output: Path,
    facts: list[str],
    image: ImageScore,
    found: Explanation,
    whole: Pixels,
    normal: Pixels | None,
    threshold: float,
) -> None:
    from PIL import Image

    source = None if normal is None else Shown(normal, found.source_patch, Path(found.source_path).name)
    if source is None:
        facts.append(f"the normal image with the nearest patch is not to be had any more: {found.source_path}")
    shown = Shown(whole, found.patch, Path(image.path).name)
    sheet = explanation_sheet(shown, source, found.anomaly_map, threshold, found.distance, facts)
    encoded = io.BytesIO()
    Image.fromarray(sheet).save(encoded, format="PNG")
    try:
        write_bytes(output, encoded.getvalue())
    except OSError as error:
        raise Fault(
            f"the picture cannot be written to {output}",
            got=error.strerror or str(error),
            expected="a file in a folder that can be written",
            remedy="name another one with --output FILE.png",
        ) from error


def _as_json(
    batch: RecordedBatch,
    image: ImageScore,
    found: Explanation,
    whole: Pixels,
    source: Path | None,
    normal: Pixels | None,
    output: Path | None,
) -> dict[str, Any]:
    record = batch.record
    names = ("batch", "scoring", "category", "bank_version", "bank_sha256", "dataset_version", "threshold")
    return {
        **{name: getattr(record, name) for name in names},
        "path": image.path,
        "sha256": image.sha256,
        "score": image.score,
        "score_now": found.score,
        "p_value": image.p_value,
        "anomalous": image.anomalous,
        "position": found.patch.to_json(_size(whole)),
        "nearest": {
            "row": found.bank_row,
            "distance": found.distance,
            "path": found.source_path,
            "sha256": found.source_sha256,
            "position": found.source_patch.to_json(None if normal is None else _size(normal)),
            "file": None if source is None else str(source),
        },
        "picture": None if output is None else str(output),
    }


def _size(image: Pixels) -> tuple[int, int]:
    height, width = image.shape[:2]
    return width, height
