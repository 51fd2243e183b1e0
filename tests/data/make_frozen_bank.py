"""Makes frozen_bank_2, a bank of format 2 that every later version must load, and what it said of three images.

Run it again only for a new format, under a new name: a frozen bank that changes shows nothing.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchcore._util.files import new_folder, write_json
from patchcore.bank.memory_bank import MemoryBank
from patchcore.config.params import Params, load_params
from patchcore.config.workspace import Workspace
from patchcore.dataset.arrivals import record_arrivals
from patchcore.dataset.manifest import scan, write_manifest
from patchcore.images.decoding import load_rgb
from patchcore.steps import build, extract

HERE = Path(__file__).resolve().parent
CATEGORY, NAME = "drawn", "frozen_bank_2"


def draw(seed: int, *, scratch: bool = False) -> NDArray[np.uint8]:
    """Return a disc on a slanted ground, uint8 (64, 64, 3)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:64, 0:64]
    centre = 32 + generator.integers(-2, 3, 2)
    levels = np.where(np.hypot(y - centre[0], x - centre[1]) < 20, 180, 60) + (x + y) // 8
    levels = levels + generator.integers(0, 4, (64, 64))
    if scratch:
        levels[30:34, 16:50] = 10
    return np.repeat(levels.astype(np.uint8)[..., None], 3, axis=2)


def make(folder: Path) -> None:
    """Write the bank, a JSON file of the same name, and frozen_images below a folder."""
    params = load_params(HERE.parents[1] / "params.yaml")
    params = params.model_copy(
        update={
            "extract": params.extract.model_copy(update={"image_size": 64, "batch_size": 2, "runtime": "openvino"}),
            "build": params.build.model_copy(update={"coreset_ratio": 0.2, "neighbours": 3}),
        }
    )
    with tempfile.TemporaryDirectory() as root:
        _build(Workspace(Path(root)), params, folder / NAME)
    images = {"normal.png": draw(100), "other.png": draw(101), "scratched.png": draw(100, scratch=True)}
    _save(folder / "frozen_images", images)
    write_json(folder / f"{NAME}.json", _said_by(MemoryBank.load(folder / NAME), folder / "frozen_images"))


def _build(workspace: Workspace, params: Params, target: Path) -> None:
    _save(workspace.evaluation(CATEGORY) / "good", {"0.png": draw(100)})
    for arrival in (range(10), range(10, 14)):
        _save(workspace.good_normals(CATEGORY), {f"{seed}.png": draw(seed) for seed in arrival})
        manifest = scan(workspace, CATEGORY)
        record_arrivals(workspace.arrivals(CATEGORY), [entry.sha256 for entry in manifest.normals], params)
    write_manifest(workspace.manifest(CATEGORY), manifest)
    for step in (extract, build):
        step.run(workspace, CATEGORY, params)
    with new_folder(target) as folder:
        for file in workspace.bank(CATEGORY).iterdir():
            (folder / file.name).write_bytes(file.read_bytes())


def _said_by(bank: MemoryBank, images: Path) -> dict[str, object]:
    paths = sorted(images.iterdir())
    scores = bank.score([load_rgb(path, bank.config.extractor.image_size) for path in paths])
    return {
        "sha256": bank.sha256,
        "arrays": {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in vars(bank.arrays).items()},
        "images": {
            path.name: {"score": float(score), "p_value": float(p_value), "anomalous": bool(anomalous)}
            for path, score, p_value, anomalous in zip(
                paths, scores.image, bank.p_values(scores.image), bank.anomalous(scores.image), strict=True
            )
        },
    }


def _save(folder: Path, images: dict[str, NDArray[np.uint8]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in images.items():
        Image.fromarray(pixels).save(folder / name)


if __name__ == "__main__":
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)
