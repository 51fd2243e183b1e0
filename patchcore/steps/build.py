"""features -> bank: choose the coreset, calibrate the threshold on the held-out normal images, write the bank."""

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

import patchcore
from patchcore import calibration, coreset, scoring
from patchcore.bank import BankArrays, save
from patchcore.errors import Refused
from patchcore.evaluation import score_stored
from patchcore.extractor import open_extractor
from patchcore.feature_store import FeatureStore
from patchcore.files import write_bytes, write_json
from patchcore.index import NearestNeighbours
from patchcore.layout import Workspace
from patchcore.manifest import ImageEntry, Manifest, read_manifest
from patchcore.params import BuildParams, Params
from patchcore.progress import progress
from patchcore.steps.indexed_features import require_indexed


def run(workspace: Workspace, category: str, params: Params) -> None:
    """Build the bank of a category from the features of its normal images.

    Raises:
        Refused: there are fewer than two different normal images, or the features are not those of the index.
    """
    manifest = read_manifest(workspace.manifest(category))
    extractor = open_extractor(params.extract, workspace.root)
    store = FeatureStore(workspace.feature_store, extractor)
    remembered, held_out = _split(manifest, params.build.held_out_share)
    require_indexed(workspace, category, store, manifest.normals)

    features = store.load_many([entry.sha256 for entry in remembered])  # (images, h, w, D)
    chosen = _select(category, features, params.build)
    rows = np.ascontiguousarray(features.reshape(-1, features.shape[-1])[chosen.indices])  # (M, D)
    _require_neighbours(category, len(rows), params.build.neighbours)
    scores = _score(store, held_out, rows, params.build.neighbours)
    threshold = calibration.threshold(scores, params.build.false_alarm_rate)

    arrays = BankArrays(rows, chosen.radii, _sources(chosen.indices, features.shape), scores)
    measured = {
        "dataset": {"sha256": manifest.sha256, "normals": len(manifest.normals), "calibration": len(held_out)},
        "coreset": _covering(chosen, int(np.prod(features.shape[:3])), params.build),
        "threshold": {**vars(threshold), "false_alarm_rate": params.build.false_alarm_rate},
    }
    described = {
        "library": patchcore.__version__,
        "category": category,
        "extractor": extractor.config,
        "parity": None,
        "scoring": {"neighbours": params.build.neighbours, "smoothing_sigma": params.build.smoothing_sigma},
    }
    save(workspace.bank(category), arrays, [vars(entry) for entry in remembered], {**measured, **described})
    _report(workspace, category, measured, chosen.radii)


def _split(manifest: Manifest, share: float) -> tuple[list[ImageEntry], list[ImageEntry]]:
    """Return the images that the bank remembers and those that calibrate its threshold."""
    try:
        out = calibration.held_out([entry.sha256 for entry in manifest.normals], share)
    except ValueError as error:
        raise Refused(
            f"category {manifest.category} has too few normal images for a bank",
            got=str(error),
            expected="at least two different ones: one to remember, one to calibrate the threshold",
            remedy="add normal images",
        ) from error
    pairs = list(zip(manifest.normals, out, strict=True))
    return [entry for entry, held in pairs if not held], [entry for entry, held in pairs if held]


def _select(category: str, features: NDArray[np.float32], params: BuildParams) -> coreset.Coreset:
    patches = features.reshape(-1, features.shape[-1])  # (N, D)
    size = min(len(patches), max(params.neighbours, round(params.coreset_ratio * len(patches)), 1))
    with progress(f"build {category}", size) as advance:
        return coreset.select(
            patches, size, seed=params.seed, projection_dim=params.projection_dimension, progress=advance
        )


def _require_neighbours(category: str, rows: int, neighbours: int) -> None:
    if rows < neighbours:
        raise Refused(
            f"the normal images of {category} are too much alike for build.neighbours in params.yaml",
            got=f"{rows} different patches",
            expected=f"at least {neighbours}",
            remedy="lower build.neighbours, or add normal images that differ",
        )


def _score(
    store: FeatureStore, images: Sequence[ImageEntry], rows: NDArray[np.float32], neighbours: int
) -> NDArray[np.float32]:
    index = NearestNeighbours(rows)
    digests = [entry.sha256 for entry in images]
    return score_stored(
        store, digests, lambda patches: scoring.score(patches, rows, index, neighbours=neighbours)
    ).image


def _covering(chosen: coreset.Coreset, patches: int, params: BuildParams) -> dict[str, object]:
    return {
        "ratio": params.coreset_ratio,
        "rows": len(chosen.indices),
        "patches": patches,
        "radius": float(chosen.radii[-1]),
        "projection_dimension": params.projection_dimension,
        "seed": params.seed,
        "arrivals": 1,
        "rows_added": 0,
        "rows_merged": 0,
    }


def _sources(indices: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Return image number, grid row and grid column of each pick, int32 (M, 3)."""
    return np.stack(np.unravel_index(indices, shape[:3]), axis=1).astype(np.int32)


def _report(workspace: Workspace, category: str, metrics: Mapping[str, object], radii: NDArray[np.float64]) -> None:
    write_json(workspace.build_metrics(category), metrics)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["rows", "radius"])
    # A thousand points draw the same curve as a hundred thousand.
    shown = np.unique(np.geomspace(1, len(radii), num=min(len(radii), 1000)).astype(int))
    writer.writerows((int(rows), float(radii[rows - 1])) for rows in shown)
    write_bytes(workspace.radius_plot(category), table.getvalue().encode())
