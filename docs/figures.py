"""Draw docs/heatmap.png: drawn washers through the real library. Run: .venv/bin/python docs/figures.py.

Drawn, because the licences of the real images that this project is measured on keep them out of the repository.
"""

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from patchcore.bank import calibration, scoring
from patchcore.bank.memory_bank import BankArrays, MemoryBank, save
from patchcore.config.params import load_params
from patchcore.coreset import kcenter
from patchcore.extraction.extractor import open_extractor
from patchcore.rendering.heatmap import Tile, contact_sheet, overlay, write_image
from patchcore.search.index import NearestNeighbours

_ROOT = Path(__file__).resolve().parent.parent
_SIDE = 224


def washer(generator: np.random.Generator, *, fault: str | None = None) -> NDArray[np.uint8]:
    """Draw a metal washer under uneven light, uint8 (S, S, 3), with a scratch, a stain, a notch or no fault."""
    image = Image.new("RGB", (_SIDE, _SIDE), (58, 62, 70))
    draw = ImageDraw.Draw(image)
    x, y = 112 + generator.integers(-3, 4, 2)
    for radius, colour in ((84, (150, 152, 158)), (80, (172, 174, 178)), (38, (150, 152, 158)), (34, (52, 56, 64))):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    if fault == "scratch":
        draw.line((x + 40, y - 55, x + 62, y + 12, x + 50, y + 40), fill=(225, 226, 230), width=2)
    if fault == "stain":
        draw.ellipse((x - 70, y + 8, x - 44, y + 36), fill=(140, 118, 92))
    if fault == "notch":
        draw.polygon(((x - 12, y - 90), (x + 14, y - 90), (x + 2, y - 62)), fill=(58, 62, 70))
    grain = generator.normal(0, 4, (_SIDE, _SIDE, 1)) + np.linspace(-14, 14, _SIDE)[None, :, None]
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(0.8)), dtype=np.float64) + grain
    return np.clip(pixels, 0, 255).astype(np.uint8)


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
        write_image(Path(__file__).with_name("heatmap.png"), contact_sheet(tiles, "washer, drawn"))


if __name__ == "__main__":
    main()
