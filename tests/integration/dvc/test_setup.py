"""Workspaces on real git and DVC repositories, with small folders in MVTec layout."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

import patchcore
from patchcore._util.files import read_json
from patchcore.adapters.versioning.repository import Versioning
from patchcore.cli.demo.data import lay_out_category
from patchcore.config.params import load_params
from patchcore.config.pipeline import check_pipeline
from patchcore.config.workspace import Workspace, pointer_of
from patchcore.dataset.manifest import normal_images
from patchcore.errors import Refused
from patchcore.lifecycle.setup import add as adding
from patchcore.lifecycle.setup.add import take_in
from patchcore.lifecycle.setup.create import init
from tests.support.places import REPOSITORY

CLONE = REPOSITORY
PACKAGE = Path(patchcore.__file__).resolve().parent
FILES = ("train/good/0.png", "train/good/1.png", "test/good/2.png", "test/crack/3.png")
MASK = "ground_truth/crack/3_mask.png"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return init(tmp_path / "workspace")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two normal and two evaluation images, a mask, and what a file manager leaves behind."""
    folder = tmp_path / "source"
    for name in (*FILES, MASK, "train/good/.DS_Store", "readme.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)  # nothing here opens an image
    return folder


def _git(workspace: Workspace, *arguments: str) -> str:
    command = ["git", "-C", str(workspace.root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _commits(workspace: Workspace) -> int:
    return len(_git(workspace, "log", "--format=%h").splitlines())


def test_a_new_workspace_is_committed_and_has_the_pipeline_without_categories(workspace: Workspace) -> None:
    assert _git(workspace, "status", "--porcelain") == ""
    kept = {".dvc/.gitignore", ".dvc/config", ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml"}
    assert set(_git(workspace, "ls-files").split()) == kept
    assert workspace.pipeline.read_bytes() == (CLONE / "dvc.yaml").read_bytes()
    assert load_params(workspace.params).categories == ()
    assert "# `patchcore add` writes here" in workspace.params.read_text()
    assert "analytics = False" in (workspace.root / ".dvc" / "config").read_text()


def test_what_the_machine_keeps_is_invisible_to_git(workspace: Workspace) -> None:
    folders = (
        workspace.state,
        workspace.drop("a"),
        workspace.quarantine("a"),
        workspace.batch("a"),
        workspace.bank("a"),
    )
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "file").write_text("")
    assert _git(workspace, "status", "--porcelain") == ""


def test_making_a_workspace_twice_changes_nothing(workspace: Workspace) -> None:
    workspace.params.write_text(workspace.params.read_text().replace("seed: 0", "seed: 7"))
    before = {file: file.read_bytes() for file in workspace.root.glob("*") if file.is_file()}
    assert init(workspace.root) == workspace
    assert {file: file.read_bytes() for file in before} == before
    assert load_params(workspace.params).build.seed == 7
    assert _git(workspace, "status", "--porcelain") == " M params.yaml\n"
    assert _commits(workspace) == 1


def test_a_folder_with_a_project_in_it_keeps_what_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    (folder / ".gitignore").write_text("*.log\n/work/")
    (folder / "notes").write_text("mine")
    workspace = init(folder)
    lines = workspace.ignore_file.read_text().splitlines()
    assert lines[:2] == ["*.log", "/work/"]
    assert {"/drop/", "/quarantine/", "/batches/", "/archive/"} <= set(lines)  # what comes in and goes out
    assert len(lines) == len(set(lines))
    assert _git(workspace, "status", "--porcelain") == "?? notes\n"


@pytest.mark.parametrize("name", ["what?", "50%20", "what?/below"])
def test_a_path_that_no_database_address_can_carry_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match=r"got a path with [?%], expected a path without \? and %") as caught:
        init(tmp_path / name)
    assert str(tmp_path / name) in caught.value.what
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="got a file, expected a folder"):
        init(tmp_path / "file")


def test_nothing_of_the_library_is_in_a_workspace(workspace: Workspace) -> None:
    """Its dvc.yaml names no module, so a rename in the library changes nothing here."""
    assert not workspace.code_link.exists()
    assert "patchcore/" not in workspace.pipeline.read_text()


def test_a_category_is_copied_tracked_listed_and_committed(workspace: Workspace, source: Path) -> None:
    added = take_in(workspace, "bottle", source)
    assert (added.normals, added.evaluation_images, added.masks) == (2, 2, 1)
    assert added.commit == Versioning(workspace).head()
    assert _git(workspace, "status", "--porcelain") == ""
    copied = {
        path.relative_to(workspace.category("bottle")).as_posix() for path in _below(workspace.category("bottle"))
    }
    assert {path for path in copied if path.endswith(".png")} == {*FILES, MASK}
    assert not any("DS_Store" in path or "readme" in path for path in copied)
    assert all(pointer.is_file() for pointer in workspace.pointers("bottle"))
    assert load_params(workspace.params).categories == ("bottle",)
    stages = [f"{stage}@bottle" for stage in ("validate", "extract", "build", "evaluate")]
    assert Versioning(workspace).stages_to_run("bottle") == stages


def _below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_images_in_deeper_folders_are_taken_too(workspace: Workspace, source: Path) -> None:
    deeper = {"train/good/monday/early/4.png", "test/good/line_2/5.png", "test/crack/line_2/6.png"}
    deeper.add("ground_truth/crack/line_2/6_mask.tif")
    for name in deeper:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    added = take_in(workspace, "bottle", source)
    assert (added.normals, added.evaluation_images, added.masks) == (3, 4, 2)
    root = workspace.category("bottle")
    assert deeper <= {path.relative_to(root).as_posix() for path in _below(root)}


@pytest.mark.parametrize(
    ("name", "target", "words"),
    [
        ("test/loose.png", None, "loose.png has no label"),
        ("ground_truth/crack/4_mask.png", None, "4_mask.png is the mask of no defective image"),
        ("test/crack/4.png", None, "4.png has no mask"),
        ("train/good/gone.png", "nowhere", "gone.png leads nowhere"),
        ("train/good/more", "test/good", "more cannot be taken: got a link to a folder"),
    ],
)
def test_a_source_with_something_that_would_be_left_out_is_refused(
    workspace: Workspace, source: Path, name: str, target: str | None, words: str
) -> None:
    (source / name).symlink_to(source / target) if target else (source / name).write_text(name)
    with pytest.raises(Refused, match=words):
        take_in(workspace, "bottle", source)
    assert not workspace.category("bottle").exists()
    assert load_params(workspace.params).categories == ()


def test_a_category_of_one_workspace_is_a_source_for_another(
    workspace: Workspace, source: Path, tmp_path: Path
) -> None:
    shutil.rmtree(source / "ground_truth")
    take_in(workspace, "bottle", source)
    other = init(tmp_path / "other")
    assert take_in(other, "bottle", workspace.category("bottle")).masks == 0


def test_adding_changes_one_line_of_params(workspace: Workspace, source: Path) -> None:
    before = workspace.params.read_text().splitlines()
    for category in ("bottle", "123", "null"):
        take_in(workspace, category, source)
    after = workspace.params.read_text().splitlines()
    changed = [line for line in after if line not in before]
    assert changed == ["categories: [bottle, '123', 'null'] # `patchcore add` writes here"]
    assert len(after) == len(before)
    assert load_params(workspace.params).categories == ("bottle", "123", "null")


def test_a_category_without_masks_says_so_in_a_file(workspace: Workspace, source: Path) -> None:
    shutil.rmtree(source / "ground_truth")
    assert take_in(workspace, "bottle", source).masks == 0
    assert [file.name for file in _below(workspace.ground_truth("bottle"))] == ["README.txt"]
    assert pointer_of(workspace.ground_truth("bottle")).is_file()


def test_a_category_is_added_once(workspace: Workspace, source: Path) -> None:
    take_in(workspace, "bottle", source)
    with pytest.raises(Refused, match="patchcore ingest bottle FOLDER"):
        take_in(workspace, "bottle", source)


@pytest.mark.parametrize("name", ["", "../up", "-x", "a b", "a/b", "x" * 65, "ä"])
def test_a_name_that_is_none_is_refused(workspace: Workspace, source: Path, name: str) -> None:
    with pytest.raises(Refused, match="not a category name"):
        take_in(workspace, name, source)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (".", "no folder"),
        ("train", "train/good: got no such folder"),
        ("train/good/*", "train/good: got an empty folder"),
        ("test", "test: got no such folder"),
        ("test/*/*", "test: got an empty folder"),
    ],
)
def test_a_source_that_lacks_something_is_refused_and_leaves_nothing(
    workspace: Workspace, source: Path, missing: str, words: str
) -> None:
    for path in [source] if missing == "." else list(source.glob(missing)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(Refused, match=words) as caught:
        take_in(workspace, "bottle", source)
    assert str(source) in str(caught.value)
    assert not workspace.category("bottle").exists()
    assert load_params(workspace.params).categories == ()


def test_another_folder_in_the_place_of_the_category_is_not_overwritten(workspace: Workspace, source: Path) -> None:
    (workspace.good_normals("bottle")).mkdir(parents=True)
    (workspace.good_normals("bottle") / "mine.png").write_text("mine")
    with pytest.raises(Refused, match="other content"):
        take_in(workspace, "bottle", source)
    assert (workspace.good_normals("bottle") / "mine.png").read_text() == "mine"


class Crash(BaseException):
    """A process that is killed: nothing catches it."""


@pytest.mark.parametrize("step", ["track", "_list_category", "commit"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_is_completed_by_the_same_command(
    workspace: Workspace, source: Path, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    owner = adding if step == "_list_category" else Versioning
    original = getattr(owner, step)

    def crash(*arguments: object) -> None:
        if when == "after":
            original(*arguments)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, crash)
        with pytest.raises(Crash):
            take_in(workspace, "bottle", source)
    if (step, when) == ("commit", "after"):  # only the answer was lost
        with pytest.raises(Refused, match="exists"):
            take_in(workspace, "bottle", source)
    else:
        take_in(workspace, "bottle", source)
    assert _git(workspace, "status", "--porcelain") == ""
    assert _commits(workspace) == 2
    assert len(_below(workspace.normals("bottle"))) == 2


def test_without_commits_the_category_is_added_and_git_is_left_alone(workspace: Workspace, source: Path) -> None:
    workspace.params.write_text(workspace.params.read_text().replace("commit: true ", "commit: false"))
    assert take_in(workspace, "bottle", source).commit is None
    assert _commits(workspace) == 1
    with pytest.raises(Refused, match="exists"):
        take_in(workspace, "bottle", source)


def test_a_wheel_brings_the_pipeline_along(tmp_path: Path) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(CLONE))
    (wheel,) = builder.build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("patchcore/template/dvc.yaml") == (CLONE / "dvc.yaml").read_bytes()


def test_a_clone_of_the_repository_is_a_workspace_that_takes_a_category(source: Path, tmp_path: Path) -> None:
    """`patchcore init .` changes nothing there; `add` changes params.yaml by one line and adds pointers."""
    if not (CLONE / ".git").exists():
        pytest.skip("these sources are no clone")
    subprocess.run(["git", "clone", "--quiet", str(CLONE), str(tmp_path / "clone")], check=True)
    clone = Workspace(tmp_path / "clone")
    head = _git(clone, "rev-parse", "HEAD")
    assert init(clone.root) == clone
    assert (_git(clone, "status", "--porcelain"), _git(clone, "rev-parse", "HEAD")) == ("", head)
    take_in(clone, "bottle", source)
    assert _git(clone, "status", "--porcelain") == ""
    changed = set(_git(clone, "diff", "--name-only", "HEAD~1").split())
    pointers = {f"data/bottle/{name}" for name in ("train.dvc", "test.dvc", "ground_truth.dvc", "arrivals.json")}
    assert changed == {"params.yaml", "data/bottle/.gitignore", *pointers}
    assert load_params(clone.params).categories == ("solar", "bottle")
    check_pipeline(clone)


def test_the_pointers_in_git_name_the_images_of_the_package(tmp_path: Path) -> None:
    if not (CLONE / ".git").exists():
        pytest.skip("these sources are no clone")
    subprocess.run(["git", "clone", "--quiet", str(CLONE), str(tmp_path / "clone")], check=True)
    clone = Workspace(tmp_path / "clone")
    lay_out_category(clone.category("solar"))
    Versioning(clone).track([pointer.with_suffix("") for pointer in clone.pointers("solar")])
    assert _git(clone, "status", "--porcelain") == ""
    images = {entry.sha256 for entry in normal_images(clone, "solar")}
    assert {image for group in read_json(clone.arrivals("solar"))["groups"] for image in group} == images
