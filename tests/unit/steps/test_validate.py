import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from patchcore._util.files import sha256_of
from patchcore.config.params import Params, load_params
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import read_manifest, scan
from patchcore.errors import Refused
from patchcore.images.facts import describe
from patchcore.steps.validate import Subject, judge, run
from tests.support.places import PARAMS_FILE
from tests.support.washers import draw_washers


def params_for(category: str) -> Params:
    loaded = load_params(PARAMS_FILE)
    validate = loaded.validate_.model_copy(update={"near_duplicate_distance": 0.7})
    return loaded.model_copy(update={"categories": (category,), "validate_": validate})


def draw(path: Path, seed: int, size: tuple[int, int] = (32, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)).save(path)
    return path


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    part = tmp_path / "data/part"
    for number in range(10):
        draw(part / f"train/good/{number}.png", number)
    draw(part / "test/good/a.png", 100)
    draw(part / "test/crack/b.png", 101)
    draw(part / "ground_truth/crack/b_mask.png", 102)
    return Workspace(tmp_path)


def test_a_good_category_gets_its_manifest_and_its_report(workspace: Workspace) -> None:
    run(workspace, "part", params_for("part"))
    manifest = read_manifest(workspace.manifest("part"))
    assert manifest == scan(workspace, "part")
    report = json.loads(workspace.validation("part").read_text())
    assert report["passed"]
    assert report["dataset_sha256"] == manifest.sha256
    assert report["counts"] == {"normals": 10, "evaluation_good": 1, "evaluation_defective": 1, "masks": 1}
    assert (workspace.data_docs("part") / "index.html").is_file()


def test_the_report_has_the_same_bytes_anywhere_and_any_time(workspace: Workspace, tmp_path: Path) -> None:
    draw(workspace.good_normals("part") / "3.png", 0)
    elsewhere = Workspace(tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "data", elsewhere.root / "data")
    for each in (workspace, elsewhere):
        with pytest.raises(Refused):
            run(each, "part", params_for("part"))
    assert sha256_of(workspace.validation("part")) == sha256_of(elsewhere.validation("part"))
    assert str(tmp_path) not in workspace.validation("part").read_text()


def copy(part: Path, source: str, target: str) -> Path:
    return Path(shutil.copy(part / source, part / target))


def again(part: Path, source: str, target: str) -> None:
    with Image.open(part / source) as image:
        image.save(part / target)  # in another format: the same picture in other bytes


@pytest.mark.parametrize(
    ("damage", "check", "offending", "found"),
    [
        (lambda p: (p / "train/good/3.png").write_bytes(b"no"), "decodable", "train/good/3.png", "not an image"),
        (lambda p: draw(p / "train/good/3.png", 3, (32, 32)), "height", "train/good/3.png", "32"),
        (lambda p: draw(p / "test/good/a.png", 3, (40, 24)), "width", "test/good/a.png", "40"),
        (lambda p: Image.new("L", (32, 24), 128).save(p / "train/good/3.png"), "sharpness", "train/good/3.png", "0"),
        (
            lambda p: copy(p, "train/good/3.png", "train/good/7.png"),
            "exact duplicates",
            "train/good/7.png",
            "good/3.png",
        ),
        (lambda p: copy(p, "test/good/a.png", "train/good/7.png"), "overlap", "train/good/7.png", "test/good/a.png"),
        (lambda p: copy(p, "test/crack/b.png", "train/good/7.png"), "overlap", "train/good/7.png", "test/crack/b.png"),
        (
            lambda p: again(p, "train/good/3.png", "train/good/x.bmp"),
            "near duplicates",
            "train/good/x.bmp",
            "good/3.png",
        ),
        (
            lambda p: again(p, "test/crack/b.png", "train/good/0.bmp"),
            "near duplicates",
            "train/good/0.bmp",
            "crack/b.png",
        ),
        (lambda p: draw(p / "ground_truth/crack/b_mask.png", 3, (24, 24)), "mask size", "test/crack/b.png", "24x24"),
        (
            lambda p: (p / "ground_truth/crack/b_mask.png").write_bytes(b"no"),
            "mask size",
            "test/crack/b.png",
            "cannot be read",
        ),
    ],
)
def test_one_bad_file_among_good_ones_is_named(
    workspace: Workspace, damage: Callable[[Path], object], check: str, offending: str, found: str
) -> None:
    damage(workspace.category("part"))
    with pytest.raises(Refused) as caught:
        run(workspace, "part", params_for("part"))
    assert repr(check) in str(caught.value)
    assert f"data/part/{offending}" in str(caught.value)
    assert "reports/part/validation.json" in str(caught.value)
    report = json.loads(workspace.validation("part").read_text())
    (failed,) = (each for each in report["checks"] if not each["passed"])
    assert failed["name"] == check
    assert failed["offending"] == [f"data/part/{offending}"]
    assert found in failed["found"][0]
    assert workspace.manifest("part").is_file()


def test_a_size_that_is_asked_for_binds_everyone(workspace: Workspace) -> None:
    params = params_for("part")
    asked = params.validate_.model_copy(update={"size": (32, 25)})
    with pytest.raises(Refused, match=r"'height'.*12 of 12 images"):
        run(workspace, "part", params.model_copy(update={"validate_": asked}))


def test_one_image_is_not_enough(workspace: Workspace) -> None:
    for number in range(1, 10):
        (workspace.good_normals("part") / f"{number}.png").unlink()
    with pytest.raises(Refused, match=r"'normal images'.*got 1, expected at least 10"):
        run(workspace, "part", params_for("part"))


@pytest.mark.parametrize(("label", "name"), [("good", "good"), ("crack", "defective")])
def test_an_evaluation_set_of_one_class_is_refused(workspace: Workspace, label: str, name: str) -> None:
    shutil.rmtree(workspace.evaluation("part") / label)
    with pytest.raises(Refused, match=f"'{name} evaluation images'.*got 0, expected at least 1"):
        run(workspace, "part", params_for("part"))


def test_an_unknown_category_is_refused(workspace: Workspace) -> None:
    with pytest.raises(Refused, match="no category 'other'"):
        run(workspace, "other", params_for("part"))


@pytest.mark.parametrize(("role", "newest"), [("evaluation", "normal"), ("normal", "candidate")])
def test_what_is_there_is_all_compared_against(
    tmp_path: Path, role: Literal["evaluation", "normal"], newest: Literal["normal", "candidate"]
) -> None:
    levels = np.random.default_rng(0).integers(0, 200, (64, 64), dtype=np.uint8)
    subjects = []
    # b is near a, c is near b but not near a: c is found although b repeats a.
    for name, rows in (("a", 0), ("b", 16), ("c", 32)):
        raised = levels.copy()
        raised[:rows] += 1
        Image.fromarray(raised).save(tmp_path / f"{name}.png")
        facts = describe(tmp_path / f"{name}.png")
        subjects.append(Subject(name, newest if name == "c" else role, "good", facts))
    checks = {check.name: check for check in judge(subjects, params_for("part").validate_).checks}
    assert checks["near duplicates"].offending == ("c",)
    assert checks["near duplicates"].found == ("nearly the same picture as b",)


def test_a_drawn_category_with_masks_passes(tmp_path: Path) -> None:
    draw_washers(tmp_path / "data/washer", normals=12, good=2, faulty=2)
    run(Workspace(tmp_path), "washer", params_for("washer"))
    assert json.loads(Workspace(tmp_path).validation("washer").read_text())["counts"]["masks"] == 6
