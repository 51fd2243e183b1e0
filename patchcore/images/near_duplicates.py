"""Images that show what another image shows already: saved again, resized or brightened a little."""

import numpy as np
from numpy.typing import NDArray


def near_duplicates(
    thumbnails: NDArray[np.float32], distance: float, *, settled: int = 0, block: int = 512
) -> list[tuple[int, int]]:
    """Find the images that show what an earlier image shows already.

    The distance is the root mean square difference of grey levels. Its square is |a|² + |b|² - 2ab, so one
    matrix product compares a block of images with all others; the pairs that it can't rule out, rounding
    included, are computed again, directly. (A mean absolute difference has no such product.) An image that
    is found is left out of later comparisons: so each found one is near one that stays, and no two that
    stay are near each other.

    Args:
        thumbnails: (B, h, w) float32 grey levels, 0 to 255.
        distance: grey levels, at least 0; equal to it counts as near.
        settled: so many images at the front are compared against, but never found themselves.
        block: images a matrix product compares at once; beside the thumbnails, twice their memory and about
            16·block·B bytes are used.

    Returns:
        (later, earlier) pairs of indices, at most one for each later image, in order.
    """
    count, pixels = len(thumbnails), int(np.prod(thumbnails.shape[1:]))
    flat = thumbnails.reshape(count, pixels)
    flat = flat - flat.mean(axis=0, dtype=np.float64).astype(np.float32) if count else flat  # short rounds less
    norms = np.einsum("bp,bp->b", flat, flat)  # (B,)
    limit = pixels * (distance + 1e-4) ** 2  # the rest is what subtracting the mean may round away
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
