"""Score many images with a bank: a few at a time in each thread, on all cores, in memory that does not grow.

The images are grouped in the order in which they are given. No score depends on the groups; see
`patchcore.extraction.batching`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from patchcore._util.parallel import in_order, one_blas_thread
from patchcore._util.progress import progress
from patchcore.adapters.ledger.records import ImageScore
from patchcore.bank.memory_bank import MemoryBank
from patchcore.bank.scoring import Scores
from patchcore.errors import UnreadableImage
from patchcore.images.decoding import load_known
from patchcore.lifecycle.batch_inputs import Received

Result = TypeVar("Result")


@dataclass(frozen=True)
class Part:
    """A few images that were scored together: B of them could be read.

    Attributes:
        images: The B files that could be read.
        pixels: The pixels of each of them, uint8 (S, S, 3).
        rows: The record of each of them.
        scores: Their scores; None if B is 0.
        failed: The records of the files that could not be read.
    """

    images: Sequence[Received]
    pixels: Sequence[NDArray[np.uint8]]
    rows: Sequence[ImageScore]
    scores: Scores | None
    failed: Sequence[ImageScore]


def in_parts(
    bank: MemoryBank, images: Sequence[Received], label: str, use: Callable[[Part], Result]
) -> Iterator[Result]:
    """Score images part by part, and pass each part to a function in the thread that scored it.

    Each thread takes a few images from reading to the result of ``use``, so all cores work whichever step is slow, and
    only the images that are being worked on are in memory.

    Args:
        bank: The bank.
        images: The files.
        label: The text of the progress bar.
        use: What to do with each part, for example draw it.

    Yields:
        The results of ``use``, in the order of the images.
    """
    step = bank.config.extractor.batch_size
    parts = (images[start : start + step] for start in range(0, len(images), step))
    done = 0
    with progress(label, len(images)) as advance, one_blas_thread():
        for count, result in in_order(lambda part: (len(part), use(score_part(bank, part))), parts):
            done += count
            advance(done)
            yield result


def score_part(bank: MemoryBank, images: Sequence[Received]) -> Part:
    """Score a few images in the calling thread.

    A file fails if it cannot be decoded, or if its bytes are not those with the given digest any more.
    """
    readable, pixels, failed = _read(images, bank.config.extractor.image_size)
    if not readable:
        return Part([], [], [], None, failed)
    scores = bank.score(pixels)
    p_values, anomalous = bank.p_values(scores.image), bank.anomalous(scores.image)
    rows = [
        ImageScore(image.path, image.sha256, float(score), float(p_value), bool(decision), None)
        for image, score, p_value, decision in zip(readable, scores.image, p_values, anomalous, strict=True)
    ]
    return Part(readable, pixels, rows, scores, failed)


def _read(images: Sequence[Received], side: int) -> tuple[list[Received], list[NDArray[np.uint8]], list[ImageScore]]:
    readable, pixels, failed = [], [], []
    for image in images:
        try:
            pixels.append(load_known(image.file, image.sha256 or "", side))
            readable.append(image)
        except UnreadableImage as error:
            reason = f"got {error.got}, expected {error.expected}"
            failed.append(ImageScore(image.path, image.sha256, None, None, None, reason))
    return readable, pixels, failed
