"""Drawn metal washers with scratches, stains and notches, and masks of these: a category from nothing."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SIDE = 224
FAULTS = ("scratch", "stain", "notch")
_COLOURS = {"scratch": (225, 226, 230), "stain": (140, 118, 92), "notch": (58, 62, 70)}
_RINGS = ((84, (150, 152, 158)), (80, (172, 174, 178)), (38, (150, 152, 158)), (34, (52, 56, 64)))


def washer(seed: int, fault: str | None = None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return a picture, uint8 (SIDE, SIDE, 3), and the mask of its fault, uint8 (SIDE, SIDE), 255 on the fault."""
    generator = np.random.default_rng(seed)
    x, y = (int(112 + shift) for shift in generator.integers(-3, 4, 2))
    turn = int(generator.integers(-6, 7))
    image, mask = Image.new("RGB", (SIDE, SIDE), (58, 62, 70)), Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    for radius, colour in _RINGS:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    if fault is not None:
        _draw_fault(draw, fault, x, y + turn, _COLOURS[fault])
        _draw_fault(ImageDraw.Draw(mask), fault, x, y + turn, 255)
    grain = generator.normal(0, 4, (SIDE, SIDE, 1)) + np.linspace(-14, 14, SIDE)[None, :, None]
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(0.8)), dtype=np.float64) + grain
    return np.clip(pixels, 0, 255).astype(np.uint8), np.asarray(mask)


def _draw_fault(draw: ImageDraw.ImageDraw, fault: str, x: int, y: int, fill: int | tuple[int, int, int]) -> None:
    if fault == "scratch":
        draw.line((x + 40, y - 55, x + 62, y + 12, x + 50, y + 40), fill=fill, width=2)
    elif fault == "stain":
        draw.ellipse((x - 70, y + 8, x - 44, y + 36), fill=fill)
    else:
        draw.polygon(((x - 12, y - 90), (x + 14, y - 90), (x + 2, y - 62)), fill=fill)


def draw_washers(folder: Path, *, normals: int, good: int, faulty: int) -> Path:
    """Draw a category in MVTec layout: ``normals`` in train/good, ``good`` in test/good, ``faulty`` of each fault."""
    for number in range(normals):
        _save(folder / "train/good" / f"{number:03}.png", washer(number)[0])
    for number in range(good):
        _save(folder / "test/good" / f"{number:03}.png", washer(10_000 + number)[0])
    for kind, fault in enumerate(FAULTS, start=2):
        for number in range(faulty):
            pixels, mask = washer(10_000 * kind + number, fault)
            _save(folder / "test" / fault / f"{number:03}.png", pixels)
            _save(folder / "ground_truth" / fault / f"{number:03}_mask.png", mask)
    return folder


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
