"""A retrain after a tenth more normal images, compared with a rebuild. Run: python benchmarks/incremental.py.

Solar cells: normal ones (and, if there are too few, crops of them with noise), then real ones that arrive later;
measured on other real cells. Both sides run the stages of dvc.yaml in this process, so the start of a program does not
count. The rebuild begins with an empty feature store; the retrain has the features and the cache of the first bank.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.common import ROOT, Table, solar_cells
from patchcore._util.files import read_json
from patchcore.config.params import Params, load_params
from patchcore.config.workspace import Workspace
from patchcore.dataset.arrivals import record_arrivals
from patchcore.dataset.manifest import normal_images
from patchcore.steps import build, evaluate, extract, validate

_STAGES = {"validate": validate.run, "extract": extract.run, "build": build.run, "evaluate": evaluate.run}
_CATEGORY = "solar"
_TURNS = (Image.Transpose.ROTATE_180, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM)
_REAL, _ARRIVING = 300, 100  # real cells among the first normals, and of each hundred that arrives


def main() -> None:
    """Measure and print; each round draws other cells."""
    arguments = _arguments()
    params = load_params(ROOT / "params.yaml").model_copy(update={"categories": (_CATEGORY,)})
    rounds = []
    for seed in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(_round(Path(folder), *_images(arguments.normals, seed, Path(folder) / "more"), params))
    _show_times(rounds, arguments.normals)
    _show_banks(rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--normals", type=int, default=1000, help="of the bank that grows by a tenth")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def _images(normals: int, seed: int, folder: Path) -> tuple[list[Path], list[Path], Mapping[str, Sequence[Path]]]:
    """Return the first normals, those that arrive, and the evaluation set: no cell is in two of them."""
    cells = solar_cells("mono", seed=seed)
    first, later, good = cells[:_REAL], cells[_REAL : _REAL + _ARRIVING], cells[_REAL + _ARRIVING :]
    return (
        _as_many(first, normals, folder / "first"),
        _as_many(later, normals // 10, folder / "later"),
        {"good": good, "defective": solar_cells("mono", defective=True)},
    )


def _as_many(cells: Sequence[Path], count: int, folder: Path) -> list[Path]:
    """Return so many images: the cells, and crops of them, turned over and with noise, where there are too few."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    more = []
    for number in range(len(cells), count):
        with Image.open(cells[number % len(cells)]) as image:
            turned = image.convert("L").transpose(_TURNS[number // len(cells) % len(_TURNS)])
        left, top = (int(offset) for offset in generator.integers(0, 24, 2))
        levels = np.asarray(turned.crop((left, top, left + 276, top + 276)).resize((300, 300)))
        noisy = np.clip(levels + generator.normal(0, 2, levels.shape), 0, 255)
        more.append(folder / f"{number}.png")
        Image.fromarray(noisy.astype(np.uint8)).save(more[-1])
    return [*cells[:count], *more]


def _round(
    folder: Path, first: Sequence[Path], later: Sequence[Path], evaluation: Mapping[str, Sequence[Path]], params: Params
) -> dict[str, dict[str, Any]]:
    grown = Workspace(folder / "grown")
    _copy(first, grown.good_normals(_CATEGORY))
    for label, images in evaluation.items():
        _copy(images, grown.evaluation(_CATEGORY) / label)
    _record(grown, params)
    _run(grown, params)
    _copy(later, grown.good_normals(_CATEGORY))
    rebuilt = Workspace(
        Path(shutil.copytree(grown.category(_CATEGORY), folder / "rebuilt/data" / _CATEGORY)).parents[1]
    )
    rebuilt.arrivals(_CATEGORY).unlink()
    for workspace in (grown, rebuilt):
        _record(workspace, params)
    measured = {"retrain": _run(grown, params), "rebuild": _run(rebuilt, params)}
    # The effect of chance: the same images again, with another first patch.
    other = params.model_copy(update={"build": params.build.model_copy(update={"seed": 1})})
    rebuilt.arrivals(_CATEGORY).unlink()
    measured["another rebuild"] = _run(rebuilt, other)
    return measured


def _copy(images: Sequence[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        shutil.copyfile(image, folder / image.name)


def _record(workspace: Workspace, params: Params) -> None:
    present = [entry.sha256 for entry in normal_images(workspace, _CATEGORY)]
    record_arrivals(workspace.arrivals(_CATEGORY), present, params)


def _run(workspace: Workspace, params: Params) -> dict[str, Any]:
    """Run the stages; return the seconds of each, and what came out."""
    seconds = {}
    for name, stage in _STAGES.items():
        started = time.perf_counter()
        stage(workspace, _CATEGORY, params)
        seconds[name] = time.perf_counter() - started
    coreset = read_json(workspace.build_metrics(_CATEGORY))["coreset"]
    return {**seconds, **coreset, "image AUROC": read_json(workspace.metrics(_CATEGORY))["image_auroc"]}


def _show_times(rounds: Sequence[Mapping[str, Mapping[str, Any]]], normals: int) -> None:
    title = f"Seconds after {normals // 10:,} more normal images, {normals:,} before; medians of {len(rounds)} rounds"
    table = Table(title, "stage", "rebuild", "retrain", "retrain / rebuild")
    built = ["extract", "build", "evaluate"]
    for name, stages in {
        **{stage: [stage] for stage in _STAGES},
        " + ".join(built): built,
        "all": list(_STAGES),
    }.items():
        rebuild, retrain = (
            statistics.median(sum(done[side][stage] for stage in stages) for done in rounds)
            for side in ("rebuild", "retrain")
        )
        table.add(name, rebuild, retrain, f"{retrain / rebuild:.1%}")
    table.show()


def _show_banks(rounds: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
    sides = ("rebuild", "retrain", "another rebuild")
    table = Table("The banks: means over the rounds, each with other cells", "", *sides)
    for name in ("rows", "patches", "radius", "arrivals", "rows_added", "rows_merged", "image AUROC"):
        means = (statistics.mean(done[side][name] for done in rounds) for side in sides)
        table.add(name, *(f"{mean:.4f}" for mean in means))
    for label, summary in (("mean", statistics.mean), ("largest", lambda values: max(values, key=abs))):
        differences = (
            summary([done[side]["image AUROC"] - done["rebuild"]["image AUROC"] for done in rounds]) for side in sides
        )
        table.add(f"{label} difference of AUROC", *(f"{difference:+.4f}" for difference in differences))
    table.show()


if __name__ == "__main__":
    main()
