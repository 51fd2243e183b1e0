"""Facts about image files: digest, size, brightness, sharpness, and a thumbnail to compare images by."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchcore._util.files import sha256_of
from patchcore.errors import UnreadableImage
from patchcore.images.decoding import FileTooLarge, decode, read_content

THUMBNAIL_SIDE = 64


@dataclass(frozen=True)
class ImageFacts:
    """What is known of one image file. If it is not decodable, everything but sha256 and reason is None.

    Grey levels are Pillow's mode L, the ITU-R 601-2 luma: L = 0.299 R + 0.587 G + 0.114 B.

    Attributes:
        sha256: Of the file's bytes, 64 hexadecimal digits.
        decodable: Whether the whole image can be read without loss.
        reason: Why it is not decodable, in one line; None if it is.
        width: Pixels.
        height: Pixels.
        mode: Pillow's name of the pixel format: "L" is grey, "RGB" is colour.
        brightness: Mean grey level, 0 (black) to 255 (white).
        sharpness: Variance of the 4-neighbour Laplacian of the grey levels, in grey levels squared; 0 is flat, larger
            is sharper. A focus measure after Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy",
            ICPR 2000.
        thumbnail: (64, 64) float32 grey levels, 0 to 255.
    """

    sha256: str
    decodable: bool
    reason: str | None
    width: int | None
    height: int | None
    mode: str | None
    brightness: float | None
    sharpness: float | None
    thumbnail: NDArray[np.float32] | None


def describe(path: Path) -> ImageFacts:
    """Return the facts about an image file. An image that cannot be decoded is no error: see `ImageFacts.reason`.

    Args:
        path: An image file.

    Raises:
        UnreadableImage: The bytes of the file cannot be read.
    """
    sha256, image, reason = _digest_and_picture(path)
    if image is None:
        return ImageFacts(sha256, False, reason, None, None, None, None, None, None)
    mode, grey = image.mode, image.convert("L")
    levels = np.asarray(grey, dtype=np.float32)
    # Of Pillow's filters, the triangle filter separates resized copies from other images best (measured).
    small = grey.convert("F").resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BILINEAR)
    return ImageFacts(
        sha256,
        decodable=True,
        reason=None,
        width=image.width,
        height=image.height,
        mode=mode,
        brightness=float(levels.mean(dtype=np.float64)),
        sharpness=_sharpness(levels),
        thumbnail=np.asarray(small, dtype=np.float32),
    )


def describe_all(paths: Sequence[Path], progress: Callable[[int], None] | None = None) -> list[ImageFacts]:
    """Return the facts about many files, in their order; each file is read and digested once.

    Args:
        paths: Image files.
        progress: Called with the number of files described so far.

    Raises:
        UnreadableImage: The bytes of a file cannot be read.
    """
    described = []
    # Threads suffice: decoding and resizing release the interpreter's lock.
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for facts in pool.map(describe, paths):
            described.append(facts)
            if progress:
                progress(len(described))
    return described


def _digest_and_picture(path: Path) -> tuple[str, Image.Image | None, str | None]:
    """Return the digest of a file, and its image or the reason why there is none."""
    try:
        content = read_content(path)
    except FileTooLarge as error:
        return sha256_of(path), None, error.got
    sha256 = hashlib.sha256(content).hexdigest()
    try:
        return sha256, decode(content, str(path)), None
    except UnreadableImage as error:
        return sha256, None, error.got


def _sharpness(levels: NDArray[np.float32]) -> float:
    """Return the variance of the 4-neighbour Laplacian of the inner pixels; 0 if there are none."""
    middle = levels[1:-1, 1:-1]
    if middle.size == 0:
        return 0.0
    laplacian = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:] - 4.0 * middle
    return float(laplacian.var(dtype=np.float64))
