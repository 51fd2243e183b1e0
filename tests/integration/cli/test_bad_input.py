"""Bad input of every kind: one clear line, the right exit code, and nothing half done."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from patchcore.__main__ import main as run_step
from patchcore._util.files import read_json
from patchcore.cli.demo.data import DemoImages, fill_batch
from patchcore.config.workspace import Workspace
from patchcore.lifecycle.services import open_services
from tests.support.errors import line_of

Done = CompletedProcess[str]
Run = Callable[..., Done]
Damage = Callable[[Path], None]


@pytest.fixture
def unbuilt(bare: Workspace, copy: Callable[[Workspace, Path], Workspace], tmp_path: Path) -> Workspace:
    return copy(bare, tmp_path / "workspace")


@pytest.fixture
def line(cells: DemoImages, tmp_path: Path) -> Path:
    fill_batch(cells.batches[0][:2], tmp_path / "line")
    return tmp_path / "line"


def edit(workspace: Workspace, old: str, new: str) -> None:
    text = workspace.params.read_text()
    assert old in text
    workspace.params.write_text(text.replace(old, new))


def assert_one_line(done: Done, code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert all(part in line for part in (*words, ": got ", ", expected ", "; ")), line


# Folders, names and parameters: refused before anything begins.


@pytest.mark.parametrize(
    "words",
    [
        ("retrain", "bottle"),
        ("ingest", "bottle", "."),
        ("promote", "bottle", "1"),
        ("rollback", "bottle", "--reason", "r"),
    ],
)
def test_no_such_category(run: Run, bare: Workspace, words: tuple[str, ...]) -> None:
    done = run(*words, "-w", bare.root)
    assert_one_line(done, 3, "no category 'bottle' in params.yaml", "one of cell", "patchcore add bottle FOLDER")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ((), "no images in {source}/train/good: got no such folder"),
        (("test/good/a.png", "test/crack/b.png"), "no images in {source}/train/good: got no such folder"),
        (("train/good/a.png",), "no images in {source}/test: got no such folder"),
    ],
    ids=["empty folder", "no normals", "no evaluation set"],
)
def test_a_folder_that_is_no_category(
    run: Run, unbuilt: Workspace, tmp_path: Path, files: tuple[str, ...], words: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in files:
        (source / name).parent.mkdir(parents=True)
        Image.new("L", (32, 32)).save(source / name)
    assert_one_line(run("add", "new", source, "-w", unbuilt.root), 3, words.format(source=source))
    assert not unbuilt.category("new").exists()


def test_an_empty_folder_of_new_images(run: Run, unbuilt: Workspace, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    done = run("ingest", "cell", tmp_path / "nothing", "-w", unbuilt.root)
    assert_one_line(done, 3, f"{tmp_path}/nothing holds no images: got an empty folder")


@pytest.mark.parametrize(("name", "got"), [("nothing", "an empty folder"), ("nowhere", "no such folder")])
def test_an_empty_batch(run: Run, promoted: Workspace, tmp_path: Path, name: str, got: str) -> None:
    (tmp_path / "nothing").mkdir()
    done = run("score", "cell", tmp_path / name, "--batch", "b1", "-w", promoted.root)
    assert_one_line(done, 3, f"no batch in {tmp_path / name}: got {got}")


def test_a_batch_with_a_link_to_a_folder(run: Run, promoted: Workspace, line: Path) -> None:
    (line / "more").symlink_to(line.parent)
    done = run("score", "cell", line, "--batch", "b1", "-w", promoted.root)
    assert_one_line(done, 3, f"{line / 'more'} cannot be taken: got a link to a folder")


def test_a_broken_link_in_a_batch_is_recorded_as_failed(run: Run, workspace: Workspace, line: Path) -> None:
    (line / "gone.png").symlink_to(line / "nowhere.png")
    done = run("score", "cell", line, "--batch", "b1", "--json", "-w", workspace.root)
    (failed,) = json.loads(done.stdout)["failed"]
    assert failed["path"].endswith("gone.png")
    assert len(json.loads(done.stdout)["images"]) == 2


@pytest.mark.parametrize("batch", ["a/b", "../up", "", ".hidden"])
def test_a_name_that_is_no_name_of_a_batch(run: Run, promoted: Workspace, line: Path, batch: str) -> None:
    done = run("score", "cell", line, "--batch", batch, "-w", promoted.root)
    assert_one_line(done, 3, f"{batch!r} cannot name a batch")


def test_a_batch_before_any_bank(run: Run, unbuilt: Workspace, line: Path) -> None:
    done = run("score", "cell", line, "--batch", "b1", "-w", unbuilt.root)
    assert_one_line(done, 3, "cell has no bank in production", "patchcore retrain cell")


def test_a_version_that_does_not_exist(run: Run, promoted: Workspace) -> None:
    assert_one_line(run("promote", "cell", 9, "-w", promoted.root), 3, "9")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  seed: 0", "  seed: 0\n  sead: 1", "unknown key build.sead"),
        ("  seed: 0", "  seed: -1", "build.seed: got -1"),
        ("  pool: 3", "  pool: 4", "extract: got "),
        ("coreset_ratio: 0.1", "coreset_ratio: 2.0", "build.coreset_ratio: got 2.0"),
        ("backbone: efficientnet_lite0", "backbone: vgg", "extract.backbone: got 'vgg'"),
        ("gate:", "gate: [", "cannot be read"),
        ("[5.0, 250.0]", "[250.0, 5.0]", "validate.brightness: got [250.0, 5.0], expected the lower bound first"),
        (
            "categories: [cell]",
            "categories: [cell, cell]",
            "categories: got ['cell', 'cell'], expected each value once",
        ),
        ("modes: [L, RGB]", "modes: [L, CMYK]", "validate.modes.1: got 'CMYK'"),
        ('retrain: "0 2 * * *"', "retrain: nightly", "schedule.retrain: got 'nightly', expected five fields"),
        ("time_zone: UTC", "time_zone: Mars", "schedule.time_zone: got 'Mars', expected a time zone"),
    ],
)
def test_a_params_file_that_is_wrong(run: Run, unbuilt: Workspace, old: str, new: str, words: str) -> None:
    edit(unbuilt, old, new)
    done = run("retrain", "cell", "-w", unbuilt.root)
    assert_one_line(done, 3, str(unbuilt.params), words)


# Images: the stage refuses them, as `patchcore retrain` and `dvc repro` run it.


def keep_one(category: Path) -> None:
    for path in sorted((category / "train" / "good").iterdir())[1:]:
        path.unlink()


def no_defects(category: Path) -> None:
    shutil.rmtree(category / "test" / "defective")


def no_good_ones(category: Path) -> None:
    shutil.rmtree(category / "test" / "good")


def small_mask(category: Path) -> None:
    for number, image in enumerate(sorted((category / "test" / "defective").iterdir())):
        mask = category / "ground_truth" / "defective" / f"{image.stem}_mask.png"
        mask.parent.mkdir(exist_ok=True)
        Image.fromarray(np.eye(200 if number == 2 else 300, dtype=np.uint8) * 255).save(mask)


def corrupt(category: Path) -> None:
    victim = sorted((category / "train" / "good").iterdir())[3]
    content = victim.read_bytes()
    victim.unlink()  # DVC may have linked it to its cache
    victim.write_bytes(content[: len(content) // 2])


def misnamed_mask(category: Path) -> None:
    image = min((category / "test" / "defective").iterdir())
    mask = category / "ground_truth" / "defective" / f"{image.stem}.mask.png"
    mask.parent.mkdir()
    Image.new("L", (300, 300)).save(mask)


def test_masks_under_another_name(
    unbuilt: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    misnamed_mask(unbuilt.category("cell"))
    monkeypatch.chdir(unbuilt.root)  # as DVC runs a stage
    assert run_step(["validate", "--category", "cell"]) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert ".mask.png is the mask of no defective image: got " in line
    assert "expected ground_truth/defective/" in line


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (keep_one, "'normal images': got 1, expected at least 10"),
        (no_defects, "'defective evaluation images': got 0, expected at least 1"),
        (no_good_ones, "'good evaluation images': got 0, expected at least 1"),
        (small_mask, "'mask size': got 1 of 36 images: data/cell/test/defective/"),
        (corrupt, "'decodable': got 1 of 36 images: data/cell/train/good/"),
    ],
)
def test_images_that_are_not_fit(
    unbuilt: Workspace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    damage: Damage,
    words: str,
) -> None:
    damage(unbuilt.category("cell"))
    monkeypatch.chdir(unbuilt.root)  # as DVC runs a stage
    assert run_step(["validate", "--category", "cell"]) == 3
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert f"cell fails the check {words}" in line
    assert read_json(unbuilt.validation("cell"))["passed"] is False


# Weights, the ledger, MLflow.


def test_weights_that_are_not_there(
    run: Run, workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    edit(workspace, "backbone: efficientnet_lite0", "backbone: resnet18")
    edit(workspace, "[blocks.2, blocks.4]", "[layer2, layer3]")
    done = run("retrain", "cell", "-w", workspace.root)
    assert_one_line(done, 3, "no weights for resnet18", str(tmp_path / "torch"), "torchvision.models.resnet18")
    services = open_services(workspace.root)
    assert [version.version for version in services.registry.versions("cell")] == [1]


@pytest.mark.parametrize("command", ["retrain", "score", "audit"])
@pytest.mark.parametrize("place", ["folder", "below a file"])
def test_a_ledger_that_cannot_be_written(
    run: Run,
    promoted: Workspace,
    line: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    place: str,
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path if place == "folder" else tmp_path / "file" / "ledger.db"
    monkeypatch.setenv("PATCHCORE_LEDGER_URL", f"sqlite:///{path}")
    arguments: dict[str, list[object]] = {
        "retrain": ["cell"],
        "score": ["cell", line, "--batch", "b1"],
        "audit": ["verify"],
    }
    done = run(command, *arguments[command], "-w", promoted.root)
    assert_one_line(done, 1, f"ledger sqlite:///{path} cannot be used", "PATCHCORE_LEDGER_URL")
    assert not promoted.batch("b1").exists()


def test_an_mlflow_that_does_not_answer_stops_retrain_before_any_stage(
    run: Run, unbuilt: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        done = run("retrain", "cell", "--json", "-w", unbuilt.root)
    assert done.returncode == 1
    assert f"MLflow at {uri}: got " in line_of(json.loads(done.stdout)["error"])
    assert done.stderr.count("error: ") == 1
    assert not unbuilt.validation("cell").exists()
