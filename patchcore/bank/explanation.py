"""Explain the score of an image: the patch with the largest distance, and the bank row that is nearest to it.

Letters: h w grid of patches, W H pixels of an image, M bank rows.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchcore.bank.memory_bank import Image, MemoryBank


@dataclass(frozen=True)
class Patch:
    """The place of a patch in the grid of patches of an image.

    Attributes:
        row: The row, from 0 at the top to h - 1.
        column: The column, from 0 at the left to w - 1.
        grid: The size of the grid, (h, w).

    Example:
        >>> Patch(row=1, column=2, grid=(28, 28)).box(width=300, height=300)
        (21, 10, 33, 22)
    """

    row: int
    column: int
    grid: tuple[int, int]

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the pixels that the patch covers in an image.

        The receptive field of the network is larger: pixels around the box influence the feature too.

        Args:
            width: The width of the image in pixels.
            height: The height of the image in pixels.

        Returns:
            Left, top, right and bottom in whole pixels; right and bottom are the first pixels outside of the box.
        """
        rows, columns = self.grid
        return (
            math.floor(self.column * width / columns),
            math.floor(self.row * height / rows),
            math.ceil((self.column + 1) * width / columns),
            math.ceil((self.row + 1) * height / rows),
        )


@dataclass(frozen=True)
class Explanation:
    """The explanation of an image score.

    Attributes:
        score: The image score, as it was computed for this explanation. Higher is more anomalous.
        anomaly_map: float32 (S, S), the smoothed score of each pixel of the square image.
        patch: The patch with the largest distance to the bank.
        distance: The Euclidean distance of its feature to the nearest bank row.
        bank_row: The number of that row, from 0 to M - 1.
        source_path: The path of the normal image that the row comes from, when the bank was built.
        source_sha256: The sha256 of that image.
        source_patch: The place of the row's patch in that image.
    """

    score: float
    anomaly_map: NDArray[np.float32]
    patch: Patch
    distance: float
    bank_row: int
    source_path: str
    source_sha256: str
    source_patch: Patch


def explain(bank: MemoryBank, image: Image) -> Explanation:
    """Explain the score of an image; the nearest row is found by exact search.

    Args:
        bank: The bank.
        image: uint8 (H, W, 3): red, green and blue, of any size.

    Returns:
        The patch that made the score, and the bank row that is nearest to it.

    Raises:
        InvalidWeights: The weights that the bank was built with are not available.
        ValueError: The image has another shape or dtype.
    """
    scores = bank.score([image])
    distances, nearest = scores.maps[0], scores.nearest[0]  # (h, w)
    grid = (distances.shape[0], distances.shape[1])
    row, column = divmod(int(distances.argmax()), grid[1])
    bank_row = int(nearest[row, column])
    number, source_row, source_column = (int(value) for value in bank.arrays.sources[bank_row])
    source = bank.images[number]
    return Explanation(
        score=float(scores.image[0]),
        anomaly_map=bank.anomaly_maps(scores)[0],
        patch=Patch(row, column, grid),
        distance=float(distances[row, column]),
        bank_row=bank_row,
        source_path=source["path"],
        source_sha256=source["sha256"],
        source_patch=Patch(source_row, source_column, grid),
    )
