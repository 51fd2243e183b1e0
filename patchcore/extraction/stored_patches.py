"""Patches that are read from files when they are needed, and are never in memory all at once.

Each file is the .npy array (h, w, D) of one image; all have the same shape. Files are read with plain reads, because
the pages of a mapped file count as memory of the process.

Letters: I images, h w grid of patches, D features, B patches of a block.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchcore.errors import FeaturesDamaged

_BLOCK = 2048  # patches that are read together, at least

Check = Callable[[str, NDArray[np.float32]], None]


class StoredPatches:
    """The patches of images, image by image, row by row of the grid: a `patchcore.coreset.sources.Patches`."""

    def __init__(
        self,
        images: Sequence[str],
        path: Callable[[str], Path],
        grid: tuple[int, ...],
        dtype: np.dtype[np.generic],
        check: Check | None = None,
    ) -> None:
        """Take the images.

        Args:
            images: the names of the images.
            path: returns the file of a name.
            grid: h, w and D, the same for all images.
            dtype: the type in the files, float32 or float16; features that are read become float32.
            check: called once with each name and its features, float32 (h w, D), in the first pass over all blocks.
        """
        self._images = images
        self._path = path
        self._dtype = dtype
        self._check = check
        self._each = grid[0] * grid[1]  # patches of an image
        self.grid = (len(images), grid[0], grid[1])
        self.shape = (len(images) * self._each, grid[2])
        example = BytesIO()
        np.save(example, np.zeros(grid, dtype=dtype), allow_pickle=False)
        self._size = self._each * grid[2] * dtype.itemsize
        self._header = example.getvalue()[: -self._size]  # every file begins with it

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield the patches of some images, float32 (B, D).

        Raises:
            FeaturesDamaged: a file is missing or damaged.
        """
        step = -(-_BLOCK // self._each)
        for start in range(0, len(self._images), step):
            images = self._images[start : start + step]
            block = np.empty((len(images), self._each, self.shape[1]), dtype=self._dtype)
            for image, part in zip(images, block, strict=True):
                self._read(self._path(image), part)
            features = block.astype(np.float32, copy=False)
            if self._check:
                for image, part in zip(images, features, strict=True):
                    self._check(image, part)
            yield features.reshape(-1, self.shape[1])
        self._check = None

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return some patches, float32 (len(indices), D), in the order of the indices.

        Raises:
            FeaturesDamaged: a file is missing or damaged.
        """
        found = np.empty((len(indices), self.shape[1]), dtype=self._dtype)
        images, places = np.divmod(np.asarray(indices, dtype=np.int64), self._each)
        order = np.argsort(images, kind="stable")  # each file is opened once
        for group in np.split(order, np.flatnonzero(np.diff(images[order])) + 1):
            if len(group):
                self._read_rows(self._path(self._images[images[group[0]]]), places[group], group, found)
        return found.astype(np.float32, copy=False)

    def _read(self, path: Path, into: NDArray[np.generic]) -> None:
        """Read a whole file in one go."""
        header, more = bytearray(len(self._header)), bytearray(1)
        with _opened(path) as handle:
            read = os.readv(handle, [header, into.data.cast("B"), more])
        if read != len(header) + self._size or header != self._header:
            raise damaged(path, f"{read} bytes or more, or another header")

    def _read_rows(
        self, path: Path, places: NDArray[np.int64], numbers: NDArray[np.int64], into: NDArray[np.generic]
    ) -> None:
        """Read some rows of a file: ``places`` in it to ``numbers`` in ``into``."""
        width = self.shape[1] * self._dtype.itemsize
        with _opened(path) as handle:
            for place, number in zip(places.tolist(), numbers.tolist(), strict=True):
                row = into[number].data.cast("B")
                if os.preadv(handle, [row], len(self._header) + place * width) != width:
                    raise damaged(path, "too few bytes")


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file for reading; an error of the disk becomes `damaged`."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            yield handle
        finally:
            os.close(handle)
    except OSError as error:
        raise damaged(path, str(error)) from error


def damaged(path: Path, got: str) -> FeaturesDamaged:
    """Return the error for a file that is missing or was changed."""
    return FeaturesDamaged(
        f"features {path} cannot be read", got, "a whole file, as it was written", "delete it: it is extracted again"
    )
