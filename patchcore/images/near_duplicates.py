"""Near duplicates: an image that was saved again, resized, or slightly brightened."""

import numpy as np
from numpy.typing import NDArray


def near_duplicates(
    thumbnails: NDArray[np.float32], distance: float, *, settled: int = 0, block: int = 512
) -> list[tuple[int, int]]:
    """Find the images that nearly equal an earlier image.

    The distance is the root mean square difference of grey levels, d(a, b) = sqrt(mean((a - b)^2)). Its square is
    (|a|^2 + |b|^2 - 2ab) / pixels, so one matrix product compares a block of images with all others. The pairs that
    the product cannot rule out, rounding errors included, are computed again directly. The bound of the rounding
    error of a dot product is n * eps * |a| * |b| (Higham, "Accuracy and Stability of Numerical Algorithms", section
    3.1). An image that was found is left out of later comparisons, so each found image is near one that stays, and no
    two images that stay are near each other.

    Args:
        thumbnails: (B, h, w) float32 grey levels, 0 to 255.
        distance: Grey levels, at least 0; a distance equal to it counts as near.
        settled: How many images at the front are compared against but never found themselves.
        block: How many images a matrix product compares at once. Besides the thumbnails, twice their memory and about
            16 * block * B bytes are used.

    Returns:
        (later, earlier) pairs of indices, at most one for each later image, ordered by the later one.

    Example:
        >>> images = np.zeros((3, 8, 8), np.float32)
        >>> images[1] = 0.5   # nearly the first
        >>> images[2] = 40.0  # another image
        >>> near_duplicates(images, 0.7)
        [(1, 0)]
    """
    count, pixels = len(thumbnails), int(np.prod(thumbnails.shape[1:]))
    flat = thumbnails.reshape(count, pixels)
    # Short vectors have smaller rounding errors.
    flat = flat - flat.mean(axis=0, dtype=np.float64).astype(np.float32) if count else flat
    norms = np.einsum("bp,bp->b", flat, flat)  # (B,)
    limit = pixels * (distance + 1e-4) ** 2  # the addend covers the rounding error of subtracting the mean
    rounding = float(pixels * np.finfo(np.float32).eps)  # of a float32 dot product, relative to |a||b|, at worst
    stays = np.ones(count, dtype=np.bool_)
    pairs: list[tuple[int, int]] = []
    for start in range(settled, count, block):
        stop = min(start + block, count)
        sums = norms[start:stop, None] + norms[:stop]  # (block, stop)
        near = (1.0 - rounding) * sums - 2.0 * (flat[start:stop] @ flat[:stop].T) <= limit
        for later in start + np.flatnonzero(near.sum(axis=1) > 1):  # each is near itself
            candidates = np.flatnonzero(near[later - start, :later] & stays[:later])
            exact = np.square(thumbnails[candidates] - thumbnails[later], dtype=np.float64).mean(axis=(1, 2))
            found = candidates[exact <= distance**2]
            if len(found):
                stays[later] = False
                pairs.append((int(later), int(found[0])))
    return pairs
