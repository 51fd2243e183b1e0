"""Accuracy on the demo's solar cells, over several splits. Run: .venv/bin/python benchmarks/accuracy.py.

For each split: bank 1 from 200 normal cells, bank 2 from 260, a fifth of them held out for the threshold, 1 % coreset,
params.yaml as it is. Measured on the cells that are in no bank and no batch: image AUROC, and at the threshold the
share of normal cells that are called anomalous (asked for: at most the false-alarm rate) and of defective ones.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from patchcore._util.files import sha256_of
from patchcore._util.progress import progress
from patchcore.bank import calibration, scoring
from patchcore.cli.demo.data import choose_images
from patchcore.config.params import load_params
from patchcore.coreset import kcenter
from patchcore.evaluation import metrics
from patchcore.evaluation.evaluate import score_stored
from patchcore.extraction.extractor import open_extractor
from patchcore.extraction.store import FeatureStore
from patchcore.search.index import NearestNeighbours

_PARAMS = load_params(Path(__file__).resolve().parent.parent / "params.yaml")


def main(kind: str = "mono", splits: int = 3) -> None:
    """Print one row per bank."""
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder), open_extractor(_PARAMS.extract))
        print("| split | normal cells | image AUROC | false alarms | found |\n|---|---|---|---|---|")
        for seed in range(splits):
            images = choose_images(kind, seed)
            labelled = [(path, label != "good") for label, paths in images.evaluation.items() for path in paths]
            for normals in (images.first, [*images.first, *images.new]):
                row = _measure(store, normals, [path for path, _ in labelled], np.array([bad for _, bad in labelled]))
                print(f"| {seed} | {len(normals)} | {row[0]:.4f} | {row[1]:.3f} | {row[2]:.3f} |")


def _measure(
    store: FeatureStore, normals: Sequence[Path], evaluation: Sequence[Path], defective: np.ndarray
) -> tuple[float, float, float]:
    """Return image AUROC, and the shares of normal and of defective images above the threshold."""
    digest = {path: sha256_of(path) for path in (*normals, *evaluation)}
    with progress("extract", len(digest)) as advance:
        store.ensure({sha256: path for path, sha256 in digest.items()}, advance)
    digests = [digest[path] for path in normals]
    out = calibration.held_out(digests, _PARAMS.build.held_out_share)
    kept = store.load_many([sha256 for sha256, held in zip(digests, out, strict=True) if not held])
    patches = kept.reshape(-1, kept.shape[-1])  # (N, D)
    size = round(_PARAMS.build.coreset_ratio * len(patches))
    rows = patches[kcenter.select(patches, size, seed=_PARAMS.build.seed).indices]
    held = _scores(store, [sha256 for sha256, held in zip(digests, out, strict=True) if held], rows)
    limit = calibration.threshold(held, _PARAMS.build.false_alarm_rate)
    scores = _scores(store, [digest[path] for path in evaluation], rows)
    above = scores > limit.value
    return metrics.auroc(scores, defective), float(above[~defective].mean()), float(above[defective].mean())


def _scores(store: FeatureStore, digests: Sequence[str], rows: np.ndarray) -> np.ndarray:
    index = NearestNeighbours(rows)
    return score_stored(store, digests, lambda patches: scoring.score(patches, rows, index, neighbours=1)).image


if __name__ == "__main__":
    main()
