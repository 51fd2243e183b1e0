"""What a person looks at: the anomaly map over the image, and a sheet of many, the most anomalous first."""

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
        overlay: uint8 (S, S, 3).
        name: what the image is called.
        score: of the image.
        p_value: of the score.
        anomalous: the bank's decision.
    """

    overlay: NDArray[np.uint8]
    name: str
    score: float
    p_value: float
    anomalous: bool


def overlay(image: NDArray[np.uint8], anomaly_map: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """Lay an anomaly map over its image: clear where it is normal, from yellow to red where it is not.

    The colours mean the same in every image of a bank, because they hang on its threshold and not on each image's own
    smallest and largest value: they fade in from 0.8 and are deepest from 1.4 times the threshold.

    Args:
        image: uint8 (S, S, 3).
        anomaly_map: float32 (S, S), higher is more anomalous.
        threshold: of the bank.

    Returns:
        uint8 (S, S, 3).
    """
    level = np.clip((anomaly_map / max(threshold, 1e-12) - 0.8) / 0.6, 0, 1)  # (S, S)
    seen = level > 0  # most of a normal image stays as it is
    shown, level = image.copy(), level[seen]  # (P,), P pixels with colour
    places = np.linspace(0, 1, len(_COLOURS))
    colours = np.stack([np.interp(level * 0.8 + 0.2, places, channel) for channel in _COLOURS.T], axis=1)  # (P, 3)
    weight = np.minimum(level * 4, 1)[:, None] * _OPACITY  # (P, 1), fades in: no hard edge
    shown[seen] = image[seen] * (1 - weight) + colours * weight
    return shown


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image, uint8 (H, W, 3), as a PNG into a folder of `patchcore._util.files.new_folder`."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    # Level 1 takes a quarter of the time of zlib's usual 6, which costs more than to score the image (measured).
    Image.fromarray(image).save(path, format="PNG", compress_level=1)


def most_anomalous(tiles: Sequence[Tile], most: int = 60) -> list[Tile]:
    """Return the tiles that a contact sheet shows, the highest score first."""
    return sorted(tiles, key=lambda tile: (-tile.score, tile.name))[:most]


def contact_sheet(tiles: Sequence[Tile], title: str, *, columns: int = 6) -> NDArray[np.uint8]:
    """Draw the most anomalous tiles first, each with its name, score and p-value.

    Args:
        tiles: at least one, in any order; the sheet shows those that `most_anomalous` keeps.
        title: the first line of the sheet.
        columns: tiles in a row.

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
