"""Score the images of a batch and draw what people look at: a heatmap of each, and a contact sheet."""

from collections.abc import Sequence
from pathlib import Path

from patchcore.adapters.ledger.records import ImageScore
from patchcore.bank.memory_bank import MemoryBank
from patchcore.config.workspace import CONTACT_SHEET, HEATMAPS
from patchcore.lifecycle.batch_inputs import Received
from patchcore.lifecycle.scoring.scoring_pipeline import Part, in_parts
from patchcore.rendering.heatmap import Tile, contact_sheet, most_anomalous, overlay, write_image


def score_and_draw(bank: MemoryBank, images: Sequence[Received], folder: Path, batch: str) -> list[ImageScore]:
    """Score images, and write their heatmaps and the contact sheet into a folder.

    Args:
        bank: The bank.
        images: The files of the batch.
        folder: The folder; the heatmaps go into a folder below it.
        batch: The name of the batch, for the title of the sheet.

    Returns:
        The score of each image, or the reason why it failed, ordered by path.
    """
    rows: list[ImageScore] = []
    tiles: list[Tile] = []
    for scored, drawn in in_parts(bank, images, f"score {batch}", lambda part: _draw(bank, part, folder / HEATMAPS)):
        rows += scored
        tiles = most_anomalous([*tiles, *drawn])  # memory does not grow with the batch
    if tiles:
        title = f"{bank.config.category}, batch {batch}: {len(images)} images"
        write_image(folder / CONTACT_SHEET, contact_sheet(tiles, title))
    return sorted(rows, key=lambda row: row.path)


def heatmap_name(image: Received) -> str:
    """Return the file name of an image's heatmap: the start of the image's name, and of its digest.

    The name is cut to 200 bytes because a file name has 255 bytes at most.
    """
    stem = image.file.stem.encode(errors="replace")[:200].decode(errors="ignore")
    return f"{stem}-{(image.sha256 or '')[:8]}.png"


def _draw(bank: MemoryBank, part: Part, heatmaps: Path) -> tuple[list[ImageScore], list[Tile]]:
    """Draw the images of a part that could be read; return its rows and the tiles."""
    tiles: list[Tile] = []
    if part.scores is None:
        return list(part.failed), tiles
    maps = bank.anomaly_maps(part.scores)
    for image, pixels, row, anomaly_map in zip(part.images, part.pixels, part.rows, maps, strict=True):
        picture = overlay(pixels, anomaly_map, bank.threshold)
        write_image(heatmaps / heatmap_name(image), picture)
        tiles.append(Tile(picture, image.file.name, row.score or 0.0, row.p_value or 0.0, bool(row.anomalous)))
    return [*part.rows, *part.failed], tiles
