"""Patch features on disk, one file for each image, named by the image's sha256 and the extractor's fingerprint.

The same extractor never extracts an image twice, so a new data-set version costs only its new images. The store is a
cache outside DVC: features that are missing are extracted again, with the same bytes.

    <folder>/<fingerprint>/<first 2 digits>/<sha256 of the image>.npy           float32 (h, w, D)
    <folder>/<fingerprint>-float16/<first 2 digits>/<sha256 of the image>.npy   float16 (h, w, D)
"""

import hashlib
import io
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from patchcore._util.files import remove_leftovers, write_bytes
from patchcore._util.parallel import in_order
from patchcore.errors import CannotWrite, FeaturesDamaged
from patchcore.extraction.extractor import Extractor
from patchcore.extraction.stored_patches import StoredPatches, damaged
from patchcore.images.decoding import load_known

Kept = Literal["float32", "float16"]
_ABANDONED = 3600.0  # seconds; a file is written in a fraction of one


class FeatureStore:
    """The cached features of one extractor."""

    def __init__(self, folder: Path, extractor: Extractor, dtype: Kept = "float32") -> None:
        """Open (or begin) the store of an extractor below ``folder``.

        Args:
            folder: the folder of all stores.
            extractor: extracts the features.
            dtype: the type on disk. float16 takes half the space and rounds to 11 significant bits; loaded features are
                float32. Each type has its own folder.
        """
        self._extractor = extractor
        self._dtype = np.dtype(dtype)
        self._folder = folder / (extractor.fingerprint[:16] + ("" if dtype == "float32" else f"-{dtype}"))

    def ensure(self, images: Mapping[str, Path], progress: Callable[[int], None]) -> int:
        """Extract the features of the images that the store does not have; each is written at once.

        Args:
            images: sha256 -> file.
            progress: called with the number of images extracted so far.

        Returns:
            The number of images that were extracted.

        Raises:
            UnreadableImage: a file is not a readable image, or its bytes have another sha256.
            CannotWrite: a file cannot be written; no partial file is left.
        """
        missing = self.missing(images)
        if not missing:
            return 0
        remove_leftovers(self._folder, "*.npy", _ABANDONED)
        side, step = self._extractor.config.image_size, self._extractor.config.batch_size
        network = self._extractor.network  # loaded before several threads use it

        def extract(batch: Sequence[str]) -> int:
            features = network(np.stack([load_known(images[sha256], sha256, side) for sha256 in batch]))
            for sha256, patches in zip(batch, features, strict=True):
                self._write(sha256, patches)
            return len(batch)

        done = 0
        for count in in_order(extract, [missing[start : start + step] for start in range(0, len(missing), step)]):
            done += count
            progress(done)
        return done

    def missing(self, images: Iterable[str]) -> list[str]:
        """Return those of the images (by sha256) whose features are not in the store."""
        return [sha256 for sha256 in images if not self._path(sha256).is_file()]

    def load(self, sha256: str) -> NDArray[np.float32]:
        """Return an image's features, float32 (h, w, D).

        Raises:
            FeaturesDamaged: the file is missing or damaged.
        """
        path = self._path(sha256)
        try:
            features = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise damaged(path, str(error)) from error
        return np.asarray(features, dtype=np.float32)

    def load_many(self, digests: Sequence[str]) -> NDArray[np.float32]:
        """Return the features of several images, float32 (B, h, w, D). Raises as `load` does."""
        return np.stack([self.load(sha256) for sha256 in digests])

    def patches(
        self, digests: Sequence[str], check: Callable[[str, NDArray[np.float32]], None] | None = None
    ) -> StoredPatches:
        """Return a view of the patches of several images, image by image, that reads files when they are needed.

        Args:
            digests: the sha256 of the images, at least one; the store must have their features.
            check: called once with each image's sha256 and features (h w, D), in the first pass over all blocks.

        Raises:
            FeaturesDamaged: the first file is missing or damaged. Reading the others raises it later.
        """
        return StoredPatches(digests, self._path, self.load(digests[0]).shape, self._dtype, check)

    def digest(self, sha256: str) -> str:
        """Return the sha256 of an image's features as they are loaded: float32, row by row of the grid."""
        return hashlib.sha256(np.ascontiguousarray(self.load(sha256)).data).hexdigest()

    def stamp(self, sha256: str) -> tuple[int, int]:
        """Return the size in bytes, and the time of the last change in nanoseconds, of the file of an image's features.

        Raises:
            FeaturesDamaged: the file is missing.
        """
        path = self._path(sha256)
        try:
            stat = path.stat()
        except OSError as error:
            words = (f"features {path} are missing", str(error), "a file", "run: dvc repro --force")
            raise FeaturesDamaged(*words) from error
        return stat.st_size, stat.st_mtime_ns

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / f"{sha256}.npy"

    def _write(self, sha256: str, features: NDArray[np.float32]) -> None:
        content = io.BytesIO()
        np.save(content, features.astype(self._dtype), allow_pickle=False)
        path, size = self._path(sha256), content.tell()
        try:
            write_bytes(path, content.getvalue())
        except OSError as error:
            free = shutil.disk_usage(self._folder).free if self._folder.is_dir() else 0
            raise CannotWrite(
                f"features {path} cannot be written",
                got=f"{error.strerror or error}, {free} bytes free",
                expected=f"room for {size} bytes, as much for each image that is not extracted yet",
                remedy="make room, then run it again: what is extracted stays",
            ) from error
