"""What the demo promises, measured on its own images by the stages that it runs."""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from patchcore._util.files import read_json
from patchcore.cli.demo.data import choose_images, lay_out
from patchcore.config.params import load_params
from patchcore.config.workspace import Workspace
from patchcore.dataset.arrivals import record_arrivals
from patchcore.dataset.manifest import scan, write_manifest
from patchcore.steps import build, evaluate, extract
from tests.support.places import PARAMS_FILE

PARAMS = load_params(PARAMS_FILE)


@pytest.mark.slow
def test_defective_solar_cells_are_told_from_normal_ones_by_a_bank_that_grew_and_by_one_built_anew(
    tmp_path: Path,
) -> None:
    images = choose_images("mono", seed=0)
    workspace = Workspace(tmp_path)
    lay_out(images, workspace.category("solar"))
    measure(workspace, (extract, build))
    for path in images.new:
        (workspace.good_normals("solar") / path.name).write_bytes(path.read_bytes())
    grown = measure(workspace, (extract, build, evaluate))
    assert read_json(workspace.build_metrics("solar"))["coreset"]["arrivals"] == 2
    workspace.arrivals("solar").unlink()
    rebuilt = measure(workspace, (build, evaluate))
    for metrics in (grown, rebuilt):
        assert metrics["image_auroc"] >= 0.925
        assert (metrics["normals"], metrics["defects"]) == (292, 357)
        assert metrics["pixel_auroc"] is None
    # Another first patch alone moves a rebuilt bank by as much: see benchmarks/incremental.py.
    assert abs(grown["image_auroc"] - rebuilt["image_auroc"]) <= 0.006
    coreset = read_json(workspace.build_metrics("solar"))["coreset"]
    assert (coreset["ratio"], coreset["arrivals"]) == (0.01, 1)


def measure(workspace: Workspace, steps: Sequence[ModuleType]) -> dict[str, Any]:
    manifest = scan(workspace, "solar")
    write_manifest(workspace.manifest("solar"), manifest)
    record_arrivals(workspace.arrivals("solar"), [entry.sha256 for entry in manifest.normals], PARAMS)
    for step in steps:
        step.run(workspace, "solar", PARAMS)
    return dict(read_json(workspace.metrics("solar"))) if evaluate in steps else {}
