"""The picture of an explanation: the worst patch of an image beside the nearest normal patch, at the same scale.

It has three columns: the image, its anomaly map, and the normal image. Each shows a box around the patch, and below it
the patch magnified.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchcore.bank.explanation import Patch
from patchcore.rendering.heatmap import overlay

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageDraw import ImageDraw

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]

_PANEL, _GAP, _LINE = 400, 24, 22  # pixels: the longer side of an image, between images, a line of text
_MAGNIFIED = 7  # patches across
_INK, _PALE, _PAPER = (20, 20, 20), (110, 110, 110), (255, 255, 255)
_DEFECT, _NORMAL = (214, 39, 40), (30, 130, 60)
_SHADES = (0.8, 1.0, 1.2, 1.4)  # times the threshold, from where the colours of `overlay` begin to their end
_TITLE_SIZE, _TEXT_SIZE = 22, 14


@dataclass(frozen=True)
class Shown:
    """An image with one of its patches.

    Attributes:
        image: uint8 (H, W, 3): red, green and blue.
        patch: The patch that gets a box.
        name: The file name of the image.
    """

    image: Pixels
    patch: Patch
    name: str


@dataclass(frozen=True)
class _Column:
    """One column: a picture with a box, and the text above and below it."""

    heading: str
    picture: "Picture"
    box: Box
    colour: tuple[int, int, int]
    caption: str


def explanation_sheet(
    image: Shown,
    normal: Shown | None,
    anomaly_map: NDArray[np.float32],
    threshold: float,
    distance: float,
    facts: Sequence[str],
) -> Pixels:
    """Draw an image with its worst patch, beside the normal image with the nearest patch.

    Args:
        image: The image and its worst patch.
        normal: The normal image and its patch; None if the image is not available.
        anomaly_map: float32 (S, S), the score of each pixel of the image, resized to a square.
        threshold: The threshold of the bank; the colours depend on it as in `overlay`.
        distance: The Euclidean distance between the features of the two patches.
        facts: The lines of text above the columns.

    Returns:
        uint8 (H, W, 3).
    """
    from PIL import Image, ImageDraw

    columns = _columns(image, normal, anomaly_map, threshold, distance)
    scale = _PANEL / max(side for column in columns for side in column.picture.size)
    height = round(max(column.picture.height for column in columns) * scale)
    top = _GAP + 34 + _LINE * len(facts)
    middle = top + _LINE + height + _LINE + 10
    bottom = middle + _LINE + _PANEL
    sheet = Image.new("RGB", (_GAP + len(columns) * (_PANEL + _GAP), bottom + 2 * _LINE + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_GAP, _GAP - 6), image.name, _INK, _TITLE_SIZE)
    for number, fact in enumerate(facts):
        _write(draw, (_GAP, _GAP + 26 + number * _LINE), fact, _INK)
    side = _window(columns)
    for number, column in enumerate(columns):
        left = _GAP + number * (_PANEL + _GAP)
        _write(draw, (left, top), column.heading, _INK)
        sheet.paste(_view(column, (0, 0, *column.picture.size), scale), (left, top + _LINE))
        _write(draw, (left, top + _LINE + height + 4), column.caption, column.colour)
        _write(draw, (left, middle), f"the same patch, magnified {_PANEL / side / scale:.1f} times", _PALE)
        sheet.paste(_view(column, _around(column, side), _PANEL / side), (left, middle + _LINE))
    _legend(sheet, (_GAP + _PANEL + _GAP, bottom + 8), threshold)
    return np.asarray(sheet)


def _columns(
    image: Shown, normal: Shown | None, anomaly_map: NDArray[np.float32], threshold: float, distance: float
) -> list[_Column]:
    from PIL import Image

    height, width = image.image.shape[:2]
    resized = Image.fromarray(anomaly_map).resize((width, height), Image.Resampling.BILINEAR)
    coloured = overlay(image.image, np.asarray(resized), threshold)
    box = image.patch.box(width, height)
    place = f"its worst patch: row {image.patch.row}, column {image.patch.column} of the grid"
    far = f"{distance:.4f} from the nearest normal patch"
    columns = [
        _Column("the image", Image.fromarray(image.image), box, _DEFECT, place),
        _Column("its anomaly map", Image.fromarray(coloured), box, _DEFECT, far),
    ]
    if normal is None:
        return columns
    height, width = normal.image.shape[:2]
    nearest = f"the nearest normal patch: row {normal.patch.row}, column {normal.patch.column}"
    box = normal.patch.box(width, height)
    return [*columns, _Column(_shortened(normal.name), Image.fromarray(normal.image), box, _NORMAL, nearest)]


def _window(columns: Sequence[_Column]) -> int:
    """Return the side of the square that is magnified, in pixels of the images: the same in all columns."""
    left, top, right, bottom = columns[0].box
    smallest = min(side for column in columns for side in column.picture.size)
    return min(_MAGNIFIED * max(right - left, bottom - top), smallest)


def _around(column: _Column, side: int) -> Box:
    """Return a square of this side around a column's box, moved so that it lies inside the picture."""
    left, top, right, bottom = column.box
    width, height = column.picture.size
    x = min(max((left + right - side) // 2, 0), width - side)
    y = min(max((top + bottom - side) // 2, 0), height - side)
    return x, y, x + side, y + side


def _view(column: _Column, region: Box, scale: float) -> "Picture":
    """Return a region of a column's picture at a scale, with the box."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = region
    size = (round((right - left) * scale), round((bottom - top) * scale))
    view = column.picture.crop(region).resize(size, Image.Resampling.BICUBIC)
    x, y, x_end, y_end = (round(value * scale) for value in _relative(column.box, left, top))
    x, y, x_end, y_end = max(x, 3), max(y, 3), min(x_end, size[0] - 3), min(y_end, size[1] - 3)  # lines stay inside
    draw = ImageDraw.Draw(view)
    # A light line around the coloured one makes it visible on any background.
    draw.rectangle((x - 3, y - 3, x_end + 2, y_end + 2), outline=_PAPER, width=1)
    draw.rectangle((x - 2, y - 2, x_end + 1, y_end + 1), outline=column.colour, width=2)
    return view


def _relative(box: Box, left: int, top: int) -> Box:
    return box[0] - left, box[1] - top, box[2] - left, box[3] - top


def _legend(sheet: "Picture", corner: tuple[int, int], threshold: float) -> None:
    """Draw the legend of the map's colours on a grey background."""
    from PIL import Image, ImageDraw

    ramp = np.tile(np.linspace(_SHADES[0], _SHADES[-1], _PANEL, dtype=np.float32) * threshold, (12, 1))
    sheet.paste(Image.fromarray(overlay(np.full((12, _PANEL, 3), 128, np.uint8), ramp, threshold)), corner)
    draw = ImageDraw.Draw(sheet)
    for shade in _SHADES:
        x = corner[0] + (shade - _SHADES[0]) / (_SHADES[-1] - _SHADES[0]) * _PANEL
        words = f"{shade * threshold:.4g}" + (" threshold" if shade == 1 else "")
        anchor = "la" if shade == _SHADES[0] else "ra" if shade == _SHADES[-1] else "ma"
        _write(draw, (x, corner[1] + 16), words, _PALE, anchor=anchor)


def _write(
    draw: "ImageDraw",
    corner: tuple[float, float],
    text: str,
    colour: tuple[int, int, int],
    size: int = _TEXT_SIZE,
    anchor: str = "la",
) -> None:
    from PIL import ImageFont

    draw.text(corner, text, fill=colour, font=ImageFont.load_default(size), anchor=anchor)


def _shortened(name: str) -> str:
    words = f"normal image {name}"
    return words if len(words) <= 52 else f"normal image …{name[-38:]}"
