"""Why an image has its score: the patch that made it, and the bank row that is nearest to that patch.

Letters: h w grid of patches, W H pixels of an image, M bank rows.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchcore.bank.memory_bank import Image, MemoryBank


@dataclass(frozen=True)
class Patch:
    """A patch by its place in the grid, counted from 0 at the top left.

    Attributes:
        row: from 0 to h - 1.
        column: from 0 to w - 1.
        grid: (h, w).
    """

    row: int
    column: int
    grid: tuple[int, int]

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return left, top, right, bottom of the pixels of an image of this size that are the patch's own, whole ones.

        What its feature sees is more: the network looks around.
        """
        rows, columns = self.grid
        return (
            math.floor(self.column * width / columns),
            math.floor(self.row * height / rows),
            math.ceil((self.column + 1) * width / columns),
            math.ceil((self.row + 1) * height / rows),
        )

    def to_json(self, size: tuple[int, int] | None) -> dict[str, Any]:
        """Return the place as JSON values, its pixels in an image of (width, height) where that is known."""
        box = None if size is None else dict(zip(("left", "top", "right", "bottom"), self.box(*size), strict=True))
        return {"row": self.row, "column": self.column, "box": box}


@dataclass(frozen=True)
class Explanation:
    """What made a score.

    Attributes:
        score: of the image, as computed here and now.
        anomaly_map: float32 (S, S), smooth.
        patch: the one with the largest distance.
        distance: Euclidean, from it to the nearest bank row.
        bank_row: the number of that row, from 0 to M - 1.
        source_path: of the normal image that the row comes from, as the bank keeps it.
        source_sha256: of its bytes.
        source_patch: the row's place there.
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
    """Explain the score of an image, uint8 (H, W, 3); the nearest row is found by exact search.

    Raises:
        Refused: the weights that the bank was built with are not to be had.
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
