"""Heatmaps, which are anomaly maps over their images, and contact sheets with the most anomalous images first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import ImageDraw

_TILE, _CAPTION, _GAP = 224, 34, 8  # pixels
_ALERT, _FINE, _INK, _PAPER = (200, 30, 30), (30, 130, 60), (20, 20, 20), (255, 255, 255)
_OPACITY = 0.6  # of the map's colours over the image
# Yellow to red, ColorBrewer's YlOrRd in nine classes (C. Brewer, colorbrewer2.org): red, green, blue.
_COLOURS = np.array(
    [
        (255, 255, 204),
        (255, 237, 160),
        (254, 217, 118),
        (254, 178, 76),
        (253, 141, 60),
        (252, 78, 42),
        (227, 26, 28),
        (189, 0, 38),
        (128, 0, 38),
    ]
)


@dataclass(frozen=True)
class Tile:
    """One image of a contact sheet.

    Attributes:
        overlay: The heatmap of the image, uint8 (S, S, 3).
        name: The file name of the image.
        score: The image score.
        p_value: The conformal p-value of the score.
        anomalous: Whether the score is above the threshold.
    """

    overlay: NDArray[np.uint8]
    name: str
    score: float
    p_value: float
    anomalous: bool


def overlay(image: NDArray[np.uint8], anomaly_map: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """Draw an anomaly map over its image: normal pixels stay as they are, others get colours from yellow to red.

    The colours depend on the threshold and not on the smallest and largest score of the image, so they mean the same in
    every image of a bank. They begin at 0.8 times the threshold and reach the deepest red at 1.4 times the threshold.

    Args:
        image: uint8 (S, S, 3): red, green and blue.
        anomaly_map: float32 (S, S), the score of each pixel; higher is more anomalous.
        threshold: The threshold of the bank, in the same unit.

    Returns:
        uint8 (S, S, 3).

    Example:
        >>> grey = np.full((1, 2, 3), 100, dtype=np.uint8)
        >>> overlay(grey, np.float32([[0.5, 1.4]]), threshold=1.0)[0].tolist()
        [[100, 100, 100], [116, 39, 62]]
    """
    level = np.clip((anomaly_map / max(threshold, 1e-12) - 0.8) / 0.6, 0, 1)  # (S, S)
    seen = level > 0  # usually few pixels: computing colours only for them saves time
    shown, level = image.copy(), level[seen]  # (P,), P pixels with colour
    places = np.linspace(0, 1, len(_COLOURS))
    colours = np.stack([np.interp(level * 0.8 + 0.2, places, channel) for channel in _COLOURS.T], axis=1)  # (P, 3)
    weight = np.minimum(level * 4, 1)[:, None] * _OPACITY  # (P, 1), increases gradually to avoid a hard edge
    shown[seen] = image[seen] * (1 - weight) + colours * weight
    return shown


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image as a PNG file; parent folders are made.

    The file is not written atomically, so it belongs into a folder of `patchcore._util.files.staging`.

    Args:
        path: The PNG file.
        image: uint8 (H, W, 3): red, green and blue.

    Raises:
        OSError: The file cannot be written.
    """
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    # Level 1 takes a quarter of the time of zlib's default 6, which takes longer than scoring the image (measured).
    Image.fromarray(image).save(path, format="PNG", compress_level=1)


def most_anomalous(tiles: Sequence[Tile], most: int = 60) -> list[Tile]:
    """Return the tiles with the highest scores, the highest first.

    Args:
        tiles: The tiles.
        most: How many at most; a contact sheet shows 60.
    """
    return sorted(tiles, key=lambda tile: (-tile.score, tile.name))[:most]


def contact_sheet(tiles: Sequence[Tile], title: str, *, columns: int = 6) -> NDArray[np.uint8]:
    """Draw tiles on a sheet, the most anomalous first, each with its name, score, p-value and decision.

    Args:
        tiles: At least one tile, in any order; the sheet shows those that `most_anomalous` returns.
        title: The first line of the sheet.
        columns: The number of tiles in a row.

    Returns:
        uint8 (H, W, 3).
    """
    from PIL import Image, ImageDraw, ImageFont

    chosen = most_anomalous(tiles)
    columns = min(columns, max(len(chosen), 3))
    rows = -(-len(chosen) // columns)
    step_x, step_y, top = _TILE + _GAP, _TILE + _CAPTION + _GAP, 40
    sheet = Image.new("RGB", (columns * step_x + _GAP, top + rows * step_y + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, 12), f"{title}, the most anomalous first", fill=_INK, font=ImageFont.load_default(18))
    for number, tile in enumerate(chosen):
        corner = (_GAP + number % columns * step_x, top + number // columns * step_y)
        sheet.paste(Image.fromarray(tile.overlay).resize((_TILE, _TILE)), corner)
        _caption(draw, tile, corner)
    return np.asarray(sheet)


def _caption(draw: "ImageDraw.ImageDraw", tile: Tile, corner: tuple[int, int]) -> None:
    from PIL import ImageFont

    x, y = corner[0], corner[1] + _TILE + 3
    colour = _ALERT if tile.anomalous else _FINE
    verdict = "ANOMALOUS" if tile.anomalous else "normal"
    small = ImageFont.load_default(12)
    draw.rectangle((x, corner[1], x + _TILE - 1, corner[1] + _TILE - 1), outline=colour, width=3)
    draw.text((x, y), tile.name[-34:], fill=_INK, font=small)
    draw.text((x, y + 15), f"{verdict}  score {tile.score:.2f}  p {tile.p_value:.3f}", fill=colour, font=small)
