"""What a person looks at: the anomaly map over the image, and a sheet of many, the most anomalous first."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchcore.files import write_bytes

if TYPE_CHECKING:
    from PIL import ImageDraw

_TILE, _CAPTION, _GAP = 224, 34, 8  # pixels
_ALERT, _FINE, _INK, _PAPER = (200, 30, 30), (30, 130, 60), (20, 20, 20), (255, 255, 255)
_OPACITY = 0.6  # of the map's colours over the image


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
    from matplotlib import colormaps

    level = np.clip((anomaly_map / max(threshold, 1e-12) - 0.8) / 0.6, 0, 1)[..., None]  # (S, S, 1)
    colours = colormaps["YlOrRd"](level[..., 0] * 0.8 + 0.2)[..., :3] * 255  # (S, S, 3)
    weight = np.minimum(level * 4, 1) * _OPACITY  # fades in: no hard edge
    return np.asarray(image * (1 - weight) + colours * weight, dtype=np.uint8)


def write_image(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an image, uint8 (H, W, 3), as a PNG, in one step."""
    import io

    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(image).save(content, format="PNG")
    write_bytes(path, content.getvalue())


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
