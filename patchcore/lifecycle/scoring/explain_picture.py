"""Draw the explanation of a score: the image with its worst patch, beside the nearest normal image."""

import io
import textwrap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchcore._util.files import write_bytes
from patchcore.adapters.ledger.records import ImageScore, RecordedBatch
from patchcore.bank.explanation import Explanation
from patchcore.errors import CannotWrite
from patchcore.lifecycle.services import Services
from patchcore.rendering.explanation_sheet import Shown, explanation_sheet


def draw_explanation(
    services: Services,
    output: Path,
    batch: RecordedBatch,
    image: ImageScore,
    found: Explanation,
    pixels: NDArray[np.uint8],
    normal: NDArray[np.uint8] | None,
) -> None:
    """Draw an explanation into a PNG file.

    Args:
        services: The opened workspace.
        output: The PNG file.
        batch: The recorded batch.
        image: The image of the batch.
        found: The explanation of its score.
        pixels: The image, uint8 (H, W, 3).
        normal: The normal image that the nearest bank row comes from, uint8 (H, W, 3); None if it is not available.

    Raises:
        CannotWrite: The file cannot be written.
    """
    from PIL import Image

    facts = _facts(services, batch, image)
    if normal is None:
        source = None
        facts.append(f"the normal image with the nearest patch is not available any more: {found.source_path}")
    else:
        source = Shown(normal, found.source_patch, Path(found.source_path).name)
    shown = Shown(pixels, found.patch, Path(image.path).name)
    sheet = explanation_sheet(shown, source, found.anomaly_map, batch.record.threshold, found.distance, facts)
    encoded = io.BytesIO()
    Image.fromarray(sheet).save(encoded, format="PNG")
    try:
        write_bytes(output, encoded.getvalue())
    except OSError as error:
        raise CannotWrite(
            f"the picture cannot be written to {output}",
            got=error.strerror or str(error),
            expected="a file in a folder that can be written",
            remedy="name another file with --output FILE.png",
        ) from error


def _facts(services: Services, batch: RecordedBatch, image: ImageScore) -> list[str]:
    """Return the lines of text of the picture: the bank's decision, the scoring, and the last decision of a person."""
    record = batch.record
    lines = [
        f"{_decision(image.anomalous)}: score {image.score:.4f}, threshold {record.threshold:.4f}, "
        f"p-value {image.p_value:.4f}",
        f"batch {record.batch}, scoring {record.scoring}, {record.category}, bank version {record.bank_version}, "
        f"scored {_time(record.scored_at)}",
    ]
    about = (record.scoring, image.path)
    overrides = [each for each in services.ledger.overrides(record.batch) if (each.scoring, each.path) == about]
    for last in overrides[-1:]:
        text = f"{last.who} decided {_decision(last.new)}, {_time(last.at)}: {last.reason}"
        lines += textwrap.wrap(text, 100)
    return lines


def _time(at: str) -> str:
    """Return a recorded time as tables show it: 2026-01-31 02:13:00.250000Z."""
    return at.replace("T", " ")


def _decision(anomalous: bool | None) -> str:
    return "ANOMALOUS" if anomalous else "normal"
