"""The cover of groups of images by coreset rows, cached, so that a build reads only the features of new images.

The cover after each group is kept outside DVC, under the digest of everything that it depends on:

    <folder>/<sha256 of code, parameters and features>.cache

A cover that is missing or damaged is computed again, to the same bytes.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from patchcore._util.files import canonical_json
from patchcore._util.progress import progress
from patchcore.config.params import BuildParams
from patchcore.coreset import incremental, kcenter
from patchcore.coreset.incremental import Cover
from patchcore.steps.cache import read_arrays, write_arrays
from patchcore.steps.fingerprint import fingerprint_of
from patchcore.steps.indexed_features import IndexedFeatures

_KEPT = 8  # the newest covers stay in the folder
_ARRAYS = ("rows", "sources", "radii")
_COUNTS = tuple(field.name for field in dataclasses.fields(Cover) if field.name not in _ARRAYS)

Group = Sequence[str]
"""The sha256 of images that arrived together."""


def cover_of(
    folder: Path, category: str, features: IndexedFeatures, groups: Sequence[Group], params: BuildParams
) -> Cover:
    """Return the cover of groups of images, in their order.

    Args:
        folder: The folder of the cached covers.
        category: The category, for the progress bar.
        features: The features of all the images.
        groups: The sha256 of the images of each group, in order of arrival; no group is empty.
        params: The parameters that decide which patches are selected.

    Raises:
        Fault: Features that have to be read changed since they were extracted.
    """
    paths = [folder / f"{key}.cache" for key in _keys(features, groups, params)]
    kept = (cover for path in reversed(paths) if (cover := _read(path)))
    cover = next(kept, None)
    if cover and cover.arrivals == len(groups):
        return cover
    cover = cover or _first(category, features, groups[0], params)
    for group in groups[cover.arrivals :]:
        cover = _with_group(category, cover, features, group, params)
    _write(paths[-1], cover)
    return cover


def _first(category: str, features: IndexedFeatures, group: Group, params: BuildParams) -> Cover:
    """Select the rows of the first group."""
    features.ensure(group)
    height, width, _ = features.load_many(group[:1]).shape[1:]
    patches = features.patches(group)  # (N, D), read in several passes, never whole
    size = _budget(patches.shape[0], params)
    with progress(f"build {category}", size) as advance:
        chosen = kcenter.select(
            patches, size, seed=params.seed, projection_dim=params.projection_dimension, progress=advance
        )
    return incremental.begin(patches.rows(chosen.indices), chosen, (len(group), height, width))


def _with_group(category: str, cover: Cover, features: IndexedFeatures, group: Group, params: BuildParams) -> Cover:
    """Extend a cover to a later group; merge rows if there are more than the budget allows."""
    features.ensure(group)
    with progress(f"build {category}: new images", len(group)) as advance:
        grown = incremental.grow(cover, features.blocks(group, advance), limit=len(cover.rows))
    budget = _budget(grown.patches, params)
    return grown if len(grown.rows) <= budget else incremental.merge(grown, budget, seed=params.seed)


def _budget(patches: int, params: BuildParams) -> int:
    wanted = max(params.neighbours, round(params.coreset_ratio * patches), 1)
    return min(wanted, patches, params.rows_at_most or patches)


def _keys(features: IndexedFeatures, groups: Sequence[Group], params: BuildParams) -> list[str]:
    """Return the digest that names the cover of the first group, of the first two groups, and so on."""
    wanted = ("coreset_ratio", "rows_at_most", "projection_dimension", "neighbours", "seed")
    code = fingerprint_of(__name__).sha256.encode()
    digest = hashlib.sha256(code + canonical_json(params.model_dump(mode="json", include=set(wanted))))
    keys = []
    for group in groups:
        digest.update(canonical_json([features.digest(sha256) for sha256 in group]))
        keys.append(digest.copy().hexdigest())
    return keys


def _read(path: Path) -> Cover | None:
    arrays: dict[str, Any] | None = read_arrays(path)
    if arrays is None:
        return None
    arrays |= zip(_COUNTS, map(int, arrays.pop("counts")), strict=True)
    return Cover(**arrays)


def _write(path: Path, cover: Cover) -> None:
    """Write a cover, and remove all but the newest."""
    counts = np.array([getattr(cover, name) for name in _COUNTS], dtype=np.int64)
    write_arrays(path, {name: getattr(cover, name) for name in _ARRAYS} | {"counts": counts})
    kept = sorted(path.parent.glob("*.cache"), key=lambda file: file.stat().st_mtime_ns)
    for old in kept[:-_KEPT]:
        old.unlink(missing_ok=True)
