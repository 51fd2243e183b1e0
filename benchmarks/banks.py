"""Banks for the benchmarks: built from exactly the given images, in a folder that the caller gives."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import patchcore
from benchmarks.common import squares
from patchcore.bank.format import BankArrays, save
from patchcore.bank.scoring import score
from patchcore.config.params import ExtractParams
from patchcore.coreset import kcenter
from patchcore.extraction.extractor import open_extractor

_CHUNK = 64  # images decoded at a time


def make_banks(
    folder: Path, images: Sequence[Path], params: ExtractParams, *, ratios: Sequence[float], projection: int | None
) -> list[Path]:
    """Build a bank of the same images for each ratio of rows to patches.

    Args:
        folder: where each bank becomes a folder of its own.
        images: image files; all of them are remembered, the first ones also serve as held-out images.
        params: the block extract of params.yaml.
        ratios: for each bank, of its rows to the patches of all images.
        projection: dimensions that patches are projected to while rows are chosen; None: as they are.

    Returns:
        The folder of each bank.
    """
    extractor = open_extractor(params)
    parts = (squares(images[at : at + _CHUNK], params.image_size) for at in range(0, len(images), _CHUNK))
    features = np.concatenate([extractor.network(part) for part in parts])  # (images, h, w, D)
    patches = features.reshape(-1, features.shape[-1])  # (N, D)
    sizes = [round(ratio * len(patches)) for ratio in ratios]
    chosen = kcenter.select(patches, max(sizes), seed=0, projection_dim=projection)
    entries = [{"path": path.name, "sha256": "0" * 64} for path in images]
    written = []
    for ratio, size in zip(ratios, sizes, strict=True):
        # Every prefix of a selection is a coreset.
        prefix = kcenter.Coreset(chosen.indices[:size], chosen.radii[:size])
        arrays = _arrays(features, prefix)
        description = {
            "library": patchcore.__version__,
            "category": "benchmark",
            "dataset": {"sha256": "0" * 64, "normals": len(images), "calibration": len(arrays.calibration)},
            "extractor": extractor.config,
            "coreset": {
                "ratio": ratio,
                "rows": size,
                "patches": len(patches),
                "radius": float(prefix.radii[-1]),
                "projection_dimension": projection,
                "seed": 0,
                "arrivals": 1,
                "rows_added": 0,
                "rows_merged": 0,
            },
            "scoring": {"neighbours": 1, "smoothing_sigma": 4.0},
            "threshold": {"value": float(arrays.calibration.max()), "false_alarm_rate": 0.05, "guaranteed_rate": 0.05},
            "parity": None,
        }
        written.append(folder / f"{extractor.config.runtime}_{size}")
        save(written[-1], arrays, entries, description)
    return written


def _arrays(features: NDArray[np.float32], chosen: kcenter.Coreset) -> BankArrays:
    from patchcore.search.index import NearestNeighbours

    rows = np.ascontiguousarray(features.reshape(-1, features.shape[-1])[chosen.indices])  # (M, D)
    sources = np.stack(np.unravel_index(chosen.indices, features.shape[:3]), axis=1).astype(np.int32)
    stand_in = score(features[:8], rows, NearestNeighbours(rows), neighbours=1).image
    return BankArrays(rows, chosen.radii, sources, stand_in)
