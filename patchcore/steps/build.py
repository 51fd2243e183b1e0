"""features -> bank: select the coreset, calibrate the threshold on held-out normal images, write the bank."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

import patchcore
from patchcore._util.files import write_json
from patchcore.bank import calibration, scoring
from patchcore.bank.memory_bank import BankArrays, save
from patchcore.bank.scoring import Scores
from patchcore.config.params import BuildParams, Params
from patchcore.config.workspace import Workspace
from patchcore.coreset.incremental import Cover
from patchcore.dataset.arrivals import grouped, read_arrivals
from patchcore.dataset.manifest import ImageEntry, Manifest, read_manifest
from patchcore.errors import TooFewImages
from patchcore.evaluation.evaluate import score_stored
from patchcore.extraction.extractor import Extractor, open_extractor
from patchcore.extraction.parity import ParityConfig, compare, counterpart, require_parity
from patchcore.extraction.store import FeatureStore
from patchcore.search.index import NearestNeighbours
from patchcore.steps.coreset_cache import cover_of
from patchcore.steps.csv import write_table
from patchcore.steps.indexed_features import IndexedFeatures


def run(workspace: Workspace, category: str, params: Params) -> None:
    """Build the bank of a category from the features of its normal images, one group of arrivals after another.

    Raises:
        TooFewImages: There are fewer than two different normal images, or fewer different patches than neighbours.
        DataMissing: The record of arrivals is damaged.
        Refused: The extractor computes in bfloat16, and its scores differ from those in float32.
        Fault: The features are not those of the index.
    """
    manifest = read_manifest(workspace.manifest(category))
    extractor = open_extractor(params.extract, workspace.root, cache=workspace.runtime_cache)
    store = FeatureStore(workspace.feature_store, extractor, params.extract.store)
    features = IndexedFeatures(workspace, category, store, manifest.normals)
    groups, held_out = _split(workspace, manifest, params)

    arrived = [[entry.sha256 for entry in group] for group in groups]
    cover = cover_of(workspace.covers(category), category, features, arrived, params.build)
    score = _scorer(category, cover.rows, params.build)
    calibrating = [entry.sha256 for entry in held_out]
    features.ensure(calibrating)
    scores = score_stored(features, calibrating, score).image
    threshold = calibration.threshold(scores, params.build.false_alarm_rate)
    parity = _parity(workspace, extractor, features, held_out[: params.extract.parity_images], score, threshold.value)
    require_parity(extractor.config, parity)

    measured = {
        "dataset": {"sha256": manifest.sha256, "normals": len(manifest.normals), "calibration": len(held_out)},
        "coreset": _certificate(cover, params.build),
        "threshold": {**vars(threshold), "false_alarm_rate": params.build.false_alarm_rate},
        "parity": parity.model_dump() if parity else None,
    }
    described = {
        "library": patchcore.__version__,
        "category": category,
        "extractor": extractor.config,
        "scoring": {"neighbours": params.build.neighbours, "smoothing_sigma": params.build.smoothing_sigma},
    }
    arrays = BankArrays(cover.rows, cover.radii, cover.sources, scores)
    images = [vars(entry) for group in groups for entry in group]
    save(workspace.bank(category), arrays, images, {**measured, **described})
    _report(workspace, category, measured, cover.radii)


def _split(workspace: Workspace, manifest: Manifest, params: Params) -> tuple[list[list[ImageEntry]], list[ImageEntry]]:
    """Return the images that the bank is built from, in groups of arrival, and the images that calibrate it.

    Both are in order of arrival, and within a group in order of their paths.
    """
    digests = [entry.sha256 for entry in manifest.normals]
    recorded = grouped(read_arrivals(workspace.arrivals(manifest.category)), digests, params)
    group_of = {sha256: number for number, group in enumerate(recorded) for sha256 in group}
    out = dict(zip(digests, _held_out(manifest.category, digests, params.build.held_out_share), strict=True))
    arrived = sorted(manifest.normals, key=lambda entry: group_of[entry.sha256])  # stable: paths stay in order
    kept = (entry for entry in arrived if not out[entry.sha256])
    groups = [list(group) for _, group in groupby(kept, key=lambda entry: group_of[entry.sha256])]
    return groups, [entry for entry in arrived if out[entry.sha256]]


def _held_out(category: str, digests: Sequence[str], share: float) -> list[bool]:
    try:
        return calibration.held_out(digests, share)
    except ValueError as error:
        raise TooFewImages(
            f"category {category} has too few normal images for a bank",
            got=str(error),
            expected="at least two different ones: one for the bank, one to calibrate the threshold",
            remedy="add normal images",
        ) from error


def _scorer(category: str, rows: NDArray[np.float32], params: BuildParams) -> Callable[[NDArray[np.float32]], Scores]:
    """Return the function that scores features, float32 (B, h, w, D), against the rows of the bank, float32 (M, D)."""
    _require_neighbours(category, len(rows), params.neighbours)
    index = NearestNeighbours(rows)
    return lambda patches: scoring.score(patches, rows, index, neighbours=params.neighbours)


def _parity(
    workspace: Workspace,
    extractor: Extractor,
    features: IndexedFeatures,
    images: Sequence[ImageEntry],
    score: Callable[[NDArray[np.float32]], Scores],
    threshold: float,
) -> ParityConfig | None:
    """Compare the extractor with the one that may score instead; None if there is none, or there are no images."""
    other = counterpart(extractor)
    if other is None or not images:
        return None
    digests = [entry.sha256 for entry in images]
    store = FeatureStore(workspace.feature_store, other)  # kept there: the next build compares the same images
    store.ensure({entry.sha256: workspace.root / entry.path for entry in images}, lambda _: None)
    own, theirs = features.load_many(digests), store.load_many(digests)
    return compare(other.config, own, theirs, lambda patches: score(patches).image, threshold)


def _require_neighbours(category: str, rows: int, neighbours: int) -> None:
    if rows < neighbours:
        raise TooFewImages(
            f"the normal images of {category} are too much alike for build.neighbours in params.yaml",
            got=f"{rows} different patches",
            expected=f"at least {neighbours}",
            remedy="lower build.neighbours, or add normal images that differ",
        )


def _certificate(cover: Cover, params: BuildParams) -> dict[str, object]:
    """Return how the rows were selected, and their covering radius."""
    return {
        "ratio": params.coreset_ratio,
        "rows": len(cover.rows),
        "patches": cover.patches,
        "radius": cover.radius,
        "projection_dimension": params.projection_dimension,
        "seed": params.seed,
        "arrivals": cover.arrivals,
        "rows_added": cover.added,
        "rows_merged": cover.merged,
    }


def _report(workspace: Workspace, category: str, metrics: Mapping[str, object], radii: NDArray[np.float64]) -> None:
    write_json(workspace.build_metrics(category), metrics)
    # A thousand points show the same curve as a hundred thousand.
    shown = np.unique(np.geomspace(1, len(radii), num=min(len(radii), 1000)).astype(int))
    points = ((int(rows), float(radii[rows - 1])) for rows in shown)
    write_table(workspace.radius_plot(category), ("rows", "radius"), points)
