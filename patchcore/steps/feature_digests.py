"""The sha256 of every image's features, cached: a feature file is read again only if it changed."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from patchcore.extraction.store import FeatureStore
from patchcore.steps.cache import read_arrays, write_arrays

_Stamp = tuple[int, int]


def digests_of(cache: Path, store: FeatureStore, images: Iterable[str]) -> dict[str, str]:
    """Return the sha256 of the features of each image, by the sha256 of the image.

    A cached digest is used as long as the feature file has the same size and time of its last change. `IndexedFeatures`
    checks the features against it whenever they are read.

    Args:
        cache: The file that keeps the digests.
        store: The features of all the images.
        images: The sha256 of each image.

    Raises:
        Fault: Features are missing or damaged.
    """
    known = _read(cache)
    found = {}
    for sha256 in sorted(set(images)):
        stamp = store.stamp(sha256)
        digest = known.get((sha256, stamp)) or store.digest(sha256)
        found[sha256, stamp] = digest
    if found != known:
        _write(cache, found)
    return {sha256: digest for (sha256, _), digest in found.items()}


def _read(cache: Path) -> dict[tuple[str, _Stamp], str]:
    arrays = read_arrays(cache)
    if arrays is None:
        return {}
    images, digests = ([bytes(row).hex() for row in arrays[name]] for name in ("images", "digests"))
    stamps = [(int(size), int(changed)) for size, changed in arrays["stamps"]]
    return dict(zip(zip(images, stamps, strict=True), digests, strict=True))


def _write(cache: Path, found: dict[tuple[str, _Stamp], str]) -> None:
    rows = {
        "images": [list(bytes.fromhex(sha256)) for sha256, _ in found],
        "digests": [list(bytes.fromhex(digest)) for digest in found.values()],
    }
    arrays = {name: np.array(values, dtype=np.uint8) for name, values in rows.items()}
    write_arrays(cache, {**arrays, "stamps": np.array([stamp for _, stamp in found], dtype=np.int64)})
