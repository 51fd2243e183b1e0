"""From patch distances to image scores and anomaly maps. Higher is more anomalous, everywhere.

Letters: B images, h w grid of patches, H W pixels, D features, k neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from patchcore.search.index import NearestNeighbours


@dataclass(frozen=True)
class Scores:
    """What a bank says of a batch of images.

    Attributes:
        image: float32 (B,), Euclidean distance in feature space (re-weighted where Eq. 7 is on), 0 or more.
        maps: float32 (B, h, w), distance of every patch to its nearest bank row, before upsampling.
        nearest: int64 (B, h, w), the bank row that each patch is nearest to.
    """

    image: NDArray[np.float32]
    maps: NDArray[np.float32]
    nearest: NDArray[np.int64]

    def part(self, images: slice) -> "Scores":
        """Return the scores of some of the images."""
        return Scores(self.image[images], self.maps[images], self.nearest[images])


def score(
    features: NDArray[np.float32], rows: NDArray[np.float32], index: NearestNeighbours, *, neighbours: int
) -> Scores:
    """Score images by their patch features.

    Args:
        features: float32 (B, h, w, D).
        rows: float32 (M, D), the memory bank that the index was built on.
        index: the search over ``rows``.
        neighbours: b of the paper's Eq. 7; 1 leaves the largest patch distance as it is.

    Raises:
        ValueError: the shapes do not fit, or there are more neighbours than rows.
    """
    if features.ndim != 4:
        raise ValueError(f"features: got shape {features.shape}, expected (B, h, w, D)")
    if not 1 <= neighbours <= len(rows):
        raise ValueError(f"neighbours: got {neighbours}, expected 1 to {len(rows)}, the number of bank rows")
    images, height, width, depth = features.shape
    patches = features.reshape(-1, depth)  # (B h w, D)
    distances, nearest = index.search(patches)
    maps = distances.reshape(images, height * width)  # (B, h w)
    worst = maps.argmax(axis=1)  # (B,)
    image = np.take_along_axis(maps, worst[:, None], 1)[:, 0]
    if neighbours > 1:
        chosen = patches.reshape(images, height * width, depth)[np.arange(images), worst]  # (B, D)
        row = nearest.reshape(images, height * width)[np.arange(images), worst]  # (B,)
        image = reweight(image, chosen, rows, index.search(rows[row], neighbours)[1])
    grid = (images, height, width)
    return Scores(image=image, maps=distances.reshape(grid), nearest=nearest.reshape(grid))


def join(parts: Sequence[Scores]) -> Scores:
    """Put the scores of several batches behind one another."""
    return Scores(
        image=np.concatenate([part.image for part in parts]),
        maps=np.concatenate([part.maps for part in parts]),
        nearest=np.concatenate([part.nearest for part in parts]),
    )


def reweight(
    distance: NDArray[np.float32],
    patches: NDArray[np.float32],
    rows: NDArray[np.float32],
    neighbourhood: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Weigh each image's score by how unusual its nearest row is (PatchCore, section 3.3, Eq. 7).

    The weight is 1 - exp(d*) / sum over m in N_b(m*) of exp(|patch - m|), where m* is the row nearest to the worst
    patch, d* its distance, and N_b(m*) are the b rows nearest to m*, itself among them.

    Args:
        distance: float32 (B,), d*.
        patches: float32 (B, D), the worst patch of each image.
        rows: float32 (M, D), the memory bank.
        neighbourhood: int64 (B, b), the rows in N_b(m*).

    Returns:
        float32 (B,), from 0 to ``distance``.
    """
    to_rows = np.linalg.norm(patches[:, None, :].astype(np.float64) - rows[neighbourhood], axis=2)  # (B, b)
    exact = distance.astype(np.float64)
    # Divided by exp(d*) above and below: exp of a distance alone overflows.
    weight = 1 - 1 / np.exp(np.minimum(to_rows - exact[:, None], 700)).sum(axis=1)
    return np.asarray(np.maximum(weight, 0) * exact, dtype=np.float32)


def anomaly_maps(maps: NDArray[np.float32], size: int, *, sigma: float) -> NDArray[np.float32]:
    """Upsample patch scores to the image and smooth them (PatchCore, section 3.3: bilinear, Gaussian of sigma 4).

    Both are linear, and work on rows and columns apart: together they are one matrix on either side of a map.

    Args:
        maps: float32 (B, h, w).
        size: side of the square image in pixels.
        sigma: of the Gaussian, in pixels of that image; 0 leaves the upsampled maps as they are.

    Returns:
        float32 (B, size, size).
    """
    down, across = (_smooth_upsampling(side, size, sigma) for side in maps.shape[1:])
    return np.asarray(down @ maps @ across.T)


@lru_cache(maxsize=8)
def _smooth_upsampling(side: int, size: int, sigma: float) -> NDArray[np.float32]:
    """Return what turns ``side`` patch scores into ``size`` smooth pixels, float32 (size, side); its rows sum to 1.

    A pixel's centre lies between the centres of two patches, whose scores it mixes; beyond the outermost centre it
    takes that patch's score (torch's `interpolate` with `align_corners=False`). The Gaussian ends at 4 sigma, and sees
    the image mirrored at its edge (scipy's `gaussian_filter`).
    """
    place = np.clip((np.arange(size) + 0.5) * side / size - 0.5, 0, side - 1)  # (size,), counted in patches
    weights = np.maximum(1 - np.abs(place[:, None] - np.arange(side)), 0)  # (size, side), float64
    if sigma > 0:
        radius = int(4 * sigma + 0.5)
        gaussian = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        mirrored = np.pad(weights, ((radius, radius), (0, 0)), mode="symmetric")
        moved = np.stack(
            [mirrored[start : start + size] for start in range(2 * radius + 1)]
        )  # (2 radius + 1, size, side)
        weights = np.tensordot(gaussian / gaussian.sum(), moved, axes=1)
    return np.asarray(weights, dtype=np.float32)
