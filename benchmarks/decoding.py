"""How fast image files become squares of 224 pixels, by decoder. Run: python benchmarks/decoding.py.

Solar cells (300x300, grey) and bottles (colour), the PNG files as they are and JPEG files made from them. Decoders
that are not installed are left out; to see all of them:
pip install opencv-python-headless simplejpeg imagecodecs pyspng.
"""

import argparse
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import Table, bottle, interleaved, solar_cells, stopwatch
from patchcore.errors import Refused
from patchcore.images.decoding import rgb_of_bytes

Picture = NDArray[np.uint8]  # (H, W, 3), red, green, blue
Decode = Callable[[bytes], Picture]
_SIDE = 224


def main() -> None:
    """Print the tables."""
    options = _options()
    for name, files in _file_sets(options.images):
        decoders = {decoder: decode for decoder, decode in _decoders().items() if _takes(decode, files[0])}
        sides: dict[str, Callable[[], float]] = {}
        for decoder, decode in decoders.items():
            sides[f"{decoder} decode"] = stopwatch(partial(_all, decode, files, 1))
            for threads in (1, 2):
                work = partial(_square, decode)
                sides[f"{decoder} {threads}"] = stopwatch(partial(_all, work, files, threads))
        ours: Decode = partial(rgb_of_bytes, side=_SIDE, name="")
        sides |= {f"ours {threads}": stopwatch(partial(_all, ours, files, threads)) for threads in (1, 2)}
        _show(name, files, decoders, interleaved(sides, options.rounds))


def _show(name: str, files: Sequence[bytes], decoders: dict[str, Decode], taken: dict[str, float]) -> None:
    rate = {side: len(files) / seconds for side, seconds in taken.items()}
    table = Table(
        f"Decoding {name}: images/s",
        *("decoder", "decode alone", "decode and resize", "2 threads", "against ours", "largest difference to Pillow"),
    )
    table.add("ours (patchcore.images.decoding)", "", rate["ours 1"], rate["ours 2"], 1.0, _difference(_ours, files))
    for decoder, decode in decoders.items():
        differ = _difference(decode, files)
        one, two = rate[f"{decoder} 1"], rate[f"{decoder} 2"]
        table.add(decoder, rate[f"{decoder} decode"], one, two, one / rate["ours 1"], differ)
    table.show()


def _ours(content: bytes) -> Picture:
    """Return the whole picture through our own reader: resized to its own size, it is left as it is."""
    width, height = Image.open(io.BytesIO(content)).size
    if width != height:
        raise ValueError(f"content: got {width}x{height} pixels, expected a square")
    return rgb_of_bytes(content, width, "")


def _all(work: Decode, files: Sequence[bytes], threads: int) -> None:
    if threads == 1:
        for content in files:
            work(content)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, files))


def _square(decode: Decode, content: bytes) -> Picture:
    """Decode, and resize as we do: Pillow's bilinear filter, which averages over what it shrinks."""
    return np.asarray(Image.fromarray(decode(content)).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR))


def _difference(decode: Decode, files: Sequence[bytes]) -> int:
    """Return how far the pixels are from Pillow's, 0 to 255."""
    pairs = ((decode(content).astype(int), _pillow(content).astype(int)) for content in files[:20])
    return max(int(np.abs(own - pillow).max()) for own, pillow in pairs)


def _takes(decode: Decode, content: bytes) -> bool:
    try:
        return decode(content).shape == _pillow(content).shape
    except Exception:  # noqa: BLE001  # each library says in its own way that this is not its format
        return False


def _pillow(content: bytes) -> Picture:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def _decoders() -> dict[str, Decode]:
    """Return every decoder that is installed: bytes of a file -> (H, W, 3)."""
    found: dict[str, Decode] = {"Pillow": _pillow}
    for module, make in (
        ("torchvision", _torchvision),
        ("cv2", _opencv),
        ("imagecodecs", _imagecodecs),
        ("simplejpeg", _simplejpeg),
        ("pyspng", _pyspng),
    ):
        if find_spec(module):
            found[module] = make()
    return found


def _torchvision() -> Decode:
    import torch
    from torchvision.io import ImageReadMode, decode_image

    def decode(content: bytes) -> Picture:
        read = decode_image(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=ImageReadMode.RGB)
        return np.ascontiguousarray(read.permute(1, 2, 0).numpy())

    return decode


def _opencv() -> Decode:
    import cv2  # type: ignore[import-not-found, unused-ignore]

    cv2.setNumThreads(1)
    return lambda content: np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB))


def _imagecodecs() -> Decode:
    import imagecodecs  # type: ignore[import-not-found, unused-ignore]

    def decode(content: bytes) -> Picture:
        is_png = content.startswith(b"\x89PNG")
        return _in_colour(imagecodecs.png_decode(content) if is_png else imagecodecs.jpeg8_decode(content))

    return decode


def _simplejpeg() -> Decode:
    import simplejpeg  # type: ignore[import-not-found, unused-ignore]

    return lambda content: np.asarray(simplejpeg.decode_jpeg(content, colorspace="RGB"))


def _pyspng() -> Decode:
    import pyspng  # type: ignore[import-not-found, unused-ignore]

    return lambda content: _in_colour(pyspng.load(content))


def _in_colour(picture: Picture) -> Picture:
    return np.repeat(picture.reshape(*picture.shape[:2], 1), 3, axis=2) if picture.ndim < 3 else picture


def _file_sets(images: int) -> Iterator[tuple[str, list[bytes]]]:
    sets = {"solar cells": solar_cells("mono")[:images]}
    try:
        sets["bottles"] = sorted((bottle() / "train" / "good").glob("*.png"))[: max(1, images // 8)]
    except Refused as missing:
        print(f"left out: {missing}")
    for name, paths in sets.items():
        files = [path.read_bytes() for path in paths]
        yield f"{name}, PNG", files
        yield f"{name}, JPEG of quality 95", [_as_jpeg(path) for path in paths]


def _as_jpeg(path: Path) -> bytes:
    content = io.BytesIO()
    with Image.open(path) as image:
        image.save(content, "JPEG", quality=95)
    return content.getvalue()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=160, help="solar cells in a round, and bottles for every eighth")
    return parser.parse_args()


if __name__ == "__main__":
    main()
