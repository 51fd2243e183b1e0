"""The features that the extract stage indexed: a later stage uses no others."""

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from patchcore._util.files import read_json
from patchcore._util.progress import Advance, progress
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import EvaluationEntry, ImageEntry
from patchcore.errors import Fault
from patchcore.extraction.store import FeatureStore
from patchcore.extraction.stored_patches import StoredPatches

_AT_ONCE = 8  # images of a block


class IndexedFeatures:
    """The features of a category's images. Each is checked against the index of the extract stage when it is read."""

    def __init__(
        self, workspace: Workspace, category: str, store: FeatureStore, images: Sequence[ImageEntry | EvaluationEntry]
    ) -> None:
        """Read the index.

        Args:
            workspace: The workspace.
            category: The category.
            store: The feature store.
            images: The images whose features may be asked for.

        Raises:
            Fault: One of them is not in the index.
        """
        self._store, self._category = store, category
        self._files = {entry.sha256: workspace.root / entry.path for entry in images}
        self._index = workspace.features_index(category)
        recorded = read_json(self._index)["features"]
        for sha256 in self._files:
            if sha256 not in recorded:
                raise self._other(sha256, "no features")
        self._digests: dict[str, str] = {sha256: recorded[sha256] for sha256 in self._files}

    def digest(self, sha256: str) -> str:
        """Return the sha256 of an image's features in the index."""
        return self._digests[sha256]

    def ensure(self, digests: Sequence[str]) -> None:
        """Extract the features again that are missing, for example because the store was cleaned up.

        Raises:
            UnreadableImage: An image cannot be read.
        """
        if missing := self._store.missing(digests):
            with progress(f"extract {self._category} again", len(missing)) as advance:
                self._store.ensure({sha256: self._files[sha256] for sha256 in missing}, advance)

    def load_many(self, digests: Sequence[str]) -> NDArray[np.float32]:
        """Return the features of several images, by their sha256, float32 (B, h, w, D).

        Raises:
            Fault: Features changed since they were extracted.
        """
        features = self._store.load_many(digests)
        for sha256, patches in zip(digests, features, strict=True):
            self._check(sha256, patches)
        return features

    def patches(self, digests: Sequence[str]) -> StoredPatches:
        """Return a view of the patches of several images that reads them when they are used, image by image.

        Reading it raises the errors of `load_many`.
        """
        return self._store.patches(digests, self._check)

    def blocks(self, digests: Sequence[str], advance: Advance) -> Iterator[NDArray[np.float32]]:
        """Yield the features of several images, a few images at a time, with the errors of `load_many`."""
        for start in range(0, len(digests), _AT_ONCE):
            advance(start)
            yield self.load_many(digests[start : start + _AT_ONCE])
        advance(len(digests))

    def _check(self, sha256: str, features: NDArray[np.float32]) -> None:
        if hashlib.sha256(np.ascontiguousarray(features).data).hexdigest() != self._digests[sha256]:
            raise self._other(sha256, "other bytes")

    def _other(self, sha256: str, got: str) -> Fault:
        return Fault(
            f"the features of image {sha256} are not those of {self._index}",
            got=got,
            expected="the features that the extract stage indexed",
            remedy=f"run: dvc repro --force --single-item extract@{self._category}",
        )
