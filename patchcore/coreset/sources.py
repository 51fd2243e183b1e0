"""Sources of the patches of a selection: an array, a mapped file, or a store that is larger than memory.

Letters: N patches, D features, B patches of a block.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_BLOCK = 2048


class Patches(Protocol):
    """A source of patches that is read front to back several times, and at single rows.

    `ArrayPatches` is one; `patchcore.extraction.stored_patches.StoredPatches` reads files.
    """

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield all patches in order, in blocks of float32 (B, D); the source chooses B."""

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the patches with these numbers in this order, float32 (len(indices), D)."""


class ArrayPatches:
    """The patches of an array in memory or of a memory-mapped file.

    Example:
        >>> patches = ArrayPatches(np.zeros((5, 3), dtype=np.float32))
        >>> patches.shape, [block.shape for block in patches.blocks()]
        ((5, 3), [(5, 3)])
    """

    def __init__(self, features: NDArray[np.float32]) -> None:
        """Take the features, float32 (N, D).

        Raises:
            ValueError: the shape or the type has no meaning.
        """
        if features.ndim != 2 or 0 in features.shape or features.dtype != np.float32:
            got = f"{features.dtype} {features.shape}"
            raise ValueError(f"features: got {got}, expected float32 (N, D), none of them 0")
        self._features = features

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return self._features.shape[0], self._features.shape[1]

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield views of the array."""
        for start in range(0, len(self._features), _BLOCK):
            # A block that is not writable (a mapped file) is copied: the kernels are compiled for one array type.
            yield np.require(self._features[start : start + _BLOCK], requirements=["C", "W"])

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the patches with these numbers, float32 (len(indices), D)."""
        return self._features[indices]


class ProjectedPatches:
    """Patches after a Gaussian random projection, which preserves squared lengths in expectation.

    Source: Johnson and Lindenstrauss, "Extensions of Lipschitz mappings into a Hilbert space", 1984.
    """

    def __init__(self, patches: Patches, generator: np.random.Generator, dimension: int) -> None:
        """Take patches of D features, and draw the projection to ``dimension`` features."""
        self._patches = patches
        matrix = generator.standard_normal((patches.shape[1], dimension)) / np.sqrt(dimension)  # (D, P)
        self._matrix = matrix.astype(np.float32).astype(np.float64)
        self.shape = patches.shape[0], dimension

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield the source's blocks, projected."""
        return (self._project(block) for block in self._patches.blocks())

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the patches with these numbers, projected."""
        return self._project(self._patches.rows(indices))

    def _project(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        # Sums in float64 make a patch's float32 values independent of its block, except for rare last bits.
        return np.asarray(features.astype(np.float64) @ self._matrix, dtype=np.float32)
