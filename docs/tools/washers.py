"""Draw images of metal washers, good and faulty: the parts of the tutorial, the README and its picture.

Drawn, because the licences of the real images that this project is measured on keep them out of the repository. Run:
``python -m docs.tools.washers FOLDER``.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SIDE = 224
FAULTS = ("scratch", "stain", "notch")


def washer(generator: np.random.Generator, *, fault: str | None = None) -> NDArray[np.uint8]:
    """Draw a metal washer under uneven light, uint8 (S, S, 3), with a scratch, a stain, a notch or no fault."""
    image = Image.new("RGB", (SIDE, SIDE), (58, 62, 70))
    draw = ImageDraw.Draw(image)
    x, y = 112 + generator.integers(-3, 4, 2)
    for radius, colour in ((84, (150, 152, 158)), (80, (172, 174, 178)), (38, (150, 152, 158)), (34, (52, 56, 64))):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    if fault == "scratch":
        draw.line((x + 40, y - 55, x + 62, y + 12, x + 50, y + 40), fill=(225, 226, 230), width=2)
    if fault == "stain":
        draw.ellipse((x - 70, y + 8, x - 44, y + 36), fill=(140, 118, 92))
    if fault == "notch":
        draw.polygon(((x - 12, y - 90), (x + 14, y - 90), (x + 2, y - 62)), fill=(58, 62, 70))
    grain = generator.normal(0, 4, (SIDE, SIDE, 1)) + np.linspace(-14, 14, SIDE)[None, :, None]
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(0.8)), dtype=np.float64) + grain
    return np.clip(pixels, 0, 255).astype(np.uint8)


def draw_folders(folder: Path) -> None:
    """Draw a category in MVTec layout, two batches, and new normal images with one file that is no image.

    The folders are ``washer``, ``shift-3``, ``shift-4`` and ``new-washers`` below ``folder``.
    """
    generator = np.random.default_rng(0)
    _draw(folder / "washer/train/good", generator, [None] * 60)
    _draw(folder / "washer/test/good", generator, [None] * 12)
    for fault in FAULTS:
        _draw(folder / "washer/test" / fault, generator, [fault] * 4)
    _draw(folder / "shift-3", generator, [None, None, "scratch", None, None, "notch"])
    _draw(folder / "shift-4", generator, [None, "stain", None, None, None, None])
    _draw(folder / "new-washers", generator, [None] * 20)
    (folder / "new-washers" / "020.png").write_bytes((folder / "new-washers" / "000.png").read_bytes()[:4000])


def _draw(folder: Path, generator: np.random.Generator, faults: Sequence[str | None]) -> None:
    folder.mkdir(parents=True)
    for number, fault in enumerate(faults):
        Image.fromarray(washer(generator, fault=fault)).save(folder / f"{number:03}.png")


if __name__ == "__main__":
    draw_folders(Path(sys.argv[1]))
