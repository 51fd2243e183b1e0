"""What the demo promises, measured on its own images by the stages that it runs."""

from pathlib import Path

from flows.demo_data import choose_images, lay_out
from patchcore.files import read_json
from patchcore.layout import Workspace
from patchcore.manifest import scan, write_manifest
from patchcore.params import load_params
from patchcore.steps import build, evaluate, extract

PARAMS = load_params(Path(__file__).resolve().parents[1] / "params.yaml")


def test_defective_solar_cells_are_told_from_normal_ones(tmp_path: Path) -> None:
    images = choose_images("mono", seed=0)
    workspace = Workspace(tmp_path)
    lay_out(images, workspace.category("solar"))
    for path in images.new:
        (workspace.good_normals("solar") / path.name).write_bytes(path.read_bytes())
    write_manifest(workspace.manifest("solar"), scan(workspace, "solar"))
    for step in (extract, build, evaluate):
        step.run(workspace, "solar", PARAMS)
    metrics = read_json(workspace.metrics("solar"))
    assert metrics["image_auroc"] >= 0.925
    assert (metrics["normals"], metrics["defects"]) == (292, 357)
    assert metrics["pixel_auroc"] is None
    assert read_json(workspace.build_metrics("solar"))["coreset"]["ratio"] == 0.01
