"""Draw docs/assets/heatmap.png: drawn washers, scored by this library. Run: .venv/bin/python -m docs.tools.figures."""

import tempfile
from pathlib import Path

import numpy as np

from docs.tools.washers import washer
from patchcore.bank import calibration, scoring
from patchcore.bank.memory_bank import BankArrays, MemoryBank, save
from patchcore.config.params import load_params
from patchcore.coreset import kcenter
from patchcore.extraction.extractor import open_extractor
from patchcore.rendering.heatmap import Tile, contact_sheet, overlay, write_image
from patchcore.search.index import NearestNeighbours

_ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Build a bank of 60 good washers, score three faulty and three good ones, write the sheet."""
    generator = np.random.default_rng(0)
    extractor = open_extractor(load_params(_ROOT / "params.yaml").extract)
    good = extractor.network(np.stack([washer(generator) for _ in range(80)]))  # (B, h, w, D)
    patches = good[:60].reshape(-1, good.shape[-1])  # (N, D)
    chosen = kcenter.select(patches, len(patches) // 100, seed=0)
    rows = patches[chosen.indices]
    held_out = scoring.score(good[60:], rows, NearestNeighbours(rows), neighbours=1).image
    limit = calibration.threshold(held_out, 0.05)
    sources = np.stack(np.unravel_index(chosen.indices, good[:60].shape[:3]), axis=1).astype(np.int32)
    description = {
        "library": "figures",
        "category": "washer",
        "dataset": {"sha256": "drawn", "normals": 80, "calibration": 20},
        "extractor": extractor.config,
        "coreset": {
            "ratio": 0.01,
            "rows": len(rows),
            "patches": len(patches),
            "radius": float(chosen.radii[-1]),
            "projection_dimension": None,
            "seed": 0,
        },
        "scoring": {"neighbours": 1, "smoothing_sigma": 4.0},
        "threshold": {**vars(limit), "false_alarm_rate": 0.05},
    }
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "bank", BankArrays(rows, chosen.radii, sources, held_out), [], description)
        bank = MemoryBank.load(Path(folder) / "bank")
        faults = ("scratch", "stain", "notch", None, None, None)
        images = [washer(generator, fault=fault) for fault in faults]
        scores = bank.score(images)
        maps, p_values = bank.anomaly_maps(scores), bank.p_values(scores.image)
        tiles = [
            Tile(
                overlay(image, maps[number], bank.threshold),
                fault or "good",
                float(scores.image[number]),
                float(p_values[number]),
                bool(bank.anomalous(scores.image)[number]),
            )
            for number, (image, fault) in enumerate(zip(images, faults, strict=True))
        ]
        write_image(_ROOT / "docs/assets/heatmap.png", contact_sheet(tiles, "washer, drawn"))


if __name__ == "__main__":
    main()
