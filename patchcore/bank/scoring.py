"""From patch distances to image scores and anomaly maps. Higher is more anomalous, everywhere.

Letters: B images, h w grid of patches, H W pixels, D features, k neighbours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from patchcore.search.protocol import Search


@dataclass(frozen=True)
class Scores:
    """The scores of B images. Higher is more anomalous.

    Attributes:
        image: float32 (B,), the image scores, at least 0: the largest patch score, which is a Euclidean distance in
            feature space, re-weighted by Eq. 7 of the paper if the bank has more than one neighbour.
        maps: float32 (B, h, w), the patch scores: the distance of every patch to its nearest bank row.
        nearest: int64 (B, h, w), the number of that row, from 0 to M - 1.

    Example:
        >>> scores = Scores(
        ...     image=np.float32([3, 5]), maps=np.float32([[[1, 3]], [[5, 2]]]), nearest=np.array([[[0, 7]], [[7, 1]]])
        ... )
        >>> scores.part(slice(1, 2)).image
        array([5.], dtype=float32)
    """

    image: NDArray[np.float32]
    maps: NDArray[np.float32]
    nearest: NDArray[np.int64]

    def part(self, images: slice) -> "Scores":
        """Return the scores of a range of the images."""
        return Scores(self.image[images], self.maps[images], self.nearest[images])


def score(features: NDArray[np.float32], rows: NDArray[np.float32], index: Search, *, neighbours: int) -> Scores:
    """Score images by their patch features (PatchCore, section 3.3).

    Args:
        features: float32 (B, h, w, D).
        rows: float32 (M, D), the memory bank that the index was built on.
        index: The search over ``rows``.
        neighbours: b of the paper's Eq. 7, from 1 to M. With 1 the image score is the largest patch score.

    Returns:
        The scores of the B images. Higher is more anomalous.

    Raises:
        ValueError: The features do not have four dimensions, or there are more neighbours than rows.

    Example:
        >>> from patchcore.search.index import NearestNeighbours
        >>> rows = np.float32([[0, 0], [10, 0]])
        >>> features = np.float32([[[[0, 3], [10, 0]]]])  # one image, a grid of 1 x 2 patches, 2 features
        >>> score(features, rows, NearestNeighbours(rows), neighbours=1).image
        array([3.], dtype=float32)
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
    """Concatenate the scores of several batches, at least one."""
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
    """Re-weight image scores by how unusual the nearest bank row is (PatchCore, section 3.3, Eq. 7).

    The score is multiplied by 1 - exp(d*) / sum over m in N_b(m*) of exp(|patch - m|). Here m* is the row that is
    nearest to the image's worst patch, d* its distance, and N_b(m*) the b rows that are nearest to m*, m* among them.

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
    # Numerator and denominator are divided by exp(d*), because exp of a distance alone overflows.
    weight = 1 - 1 / np.exp(np.minimum(to_rows - exact[:, None], 700)).sum(axis=1)
    return np.asarray(np.maximum(weight, 0) * exact, dtype=np.float32)


def anomaly_maps(maps: NDArray[np.float32], size: int, *, sigma: float) -> NDArray[np.float32]:
    """Upsample patch scores to the image and smooth them (PatchCore, section 3.3: bilinear, Gaussian of sigma 4).

    Both steps are linear and separable, so together they are one matrix for the rows and one for the columns.

    Args:
        maps: float32 (B, h, w), patch scores.
        size: The side of the square image in pixels.
        sigma: The standard deviation of the Gaussian in pixels of that image; 0 does not smooth.

    Returns:
        float32 (B, size, size), in the unit of the patch scores.

    Example:
        >>> anomaly_maps(np.float32([[[0, 1]]]), 4, sigma=0)[0, 0]
        array([0.  , 0.25, 0.75, 1.  ], dtype=float32)
    """
    down, across = (_smooth_upsampling(side, size, sigma) for side in maps.shape[1:])
    return np.asarray(down @ maps @ across.T)


@lru_cache(maxsize=8)
def _smooth_upsampling(side: int, size: int, sigma: float) -> NDArray[np.float32]:
    """Return the matrix from ``side`` patch scores to ``size`` smoothed pixels, float32 (size, side); rows sum to 1.

    Upsampling is that of torch's `interpolate` with `align_corners=False`: a pixel interpolates between the two patch
    centres beside it, and beyond the outermost centre it has that patch's score. The Gaussian is that of scipy's
    `gaussian_filter`: it ends at 4 sigma, and the image is mirrored at its edges.
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
