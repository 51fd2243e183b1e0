"""Patch features on disk, one file an image, named by the image's content and the extractor that made them.

An image is never extracted twice by the same extractor, and a new data-set version costs its new images alone. The
store is a cache outside DVC: what is missing is extracted again, to the same bytes.

    <folder>/<fingerprint>/<first 2 digits>/<sha256 of the image>.npy      float32 (h, w, D)
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchcore.errors import Fault
from patchcore.extractor import Extractor
from patchcore.files import write_bytes
from patchcore.images import load_known
from patchcore.parallel import in_order


class FeatureStore:
    """The features that one extractor made."""

    def __init__(self, folder: Path, extractor: Extractor) -> None:
        """Open (or begin) the store of an extractor below ``folder``."""
        self._extractor = extractor
        self._folder = folder / extractor.fingerprint[:16]

    def ensure(self, images: Mapping[str, Path], progress: Callable[[int], None]) -> int:
        """Extract the features of the images that are not there yet.

        Args:
            images: sha256 -> file.
            progress: called with the number of images extracted so far.

        Returns:
            How many images were extracted.

        Raises:
            UnreadableImage: a file is not an image that can be read, or holds other bytes by now.
            Fault: a file cannot be written; nothing is half-written.
        """
        missing = self.missing(images)
        if not missing:
            return 0
        side, step = self._extractor.config.image_size, self._extractor.config.batch_size
        network = self._extractor.network  # loaded here, before several threads ask for it

        def extract(batch: Sequence[str]) -> NDArray[np.float32]:
            return network(np.stack([load_known(images[sha256], sha256, side) for sha256 in batch]))

        batches = [missing[start : start + step] for start in range(0, len(missing), step)]
        done = 0
        for batch, features in zip(batches, in_order(extract, batches), strict=True):
            for sha256, patches in zip(batch, features, strict=True):
                self._write(sha256, patches)
            done += len(batch)
            progress(done)
        return done

    def missing(self, images: Iterable[str]) -> list[str]:
        """Return those of the images (by sha256) whose features are not in the store."""
        return [sha256 for sha256 in images if not self._path(sha256).is_file()]

    def load(self, sha256: str) -> NDArray[np.float32]:
        """Return an image's features, float32 (h, w, D).

        Raises:
            Fault: the file is missing or damaged.
        """
        path = self._path(sha256)
        try:
            features: NDArray[np.float32] = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise Fault(
                f"features {path} cannot be read", str(error), "a whole file", "delete it, then run: dvc repro --force"
            ) from error
        return features

    def load_many(self, digests: Sequence[str]) -> NDArray[np.float32]:
        """Return the features of several images, float32 (B, h, w, D). Raises as `load` does."""
        return np.stack([self.load(sha256) for sha256 in digests])

    def digest(self, sha256: str) -> str:
        """Return the sha256 of an image's features."""
        return hashlib.sha256(self.load(sha256).tobytes()).hexdigest()

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / f"{sha256}.npy"

    def _write(self, sha256: str, features: NDArray[np.float32]) -> None:
        content = io.BytesIO()
        np.save(content, features, allow_pickle=False)
        path = self._path(sha256)
        try:
            write_bytes(path, content.getvalue())
        except OSError as error:
            raise Fault(f"features {path} cannot be written", str(error), "room on the disk", "make room") from error
