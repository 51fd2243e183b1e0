"""Versioning on a real git and a real DVC repository, with stages that are small Python scripts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from patchcore.adapters.versioning.git import Git
from patchcore.adapters.versioning.repository import Versioning, code_version
from patchcore.config.workspace import Workspace
from patchcore.errors import Fault, PatchcoreError, Refused, UnreadableImage, UsageError

PIPELINE = """
stages:
  second:
    matrix: {part: "${categories}"}
    cmd: python stage.py second work/${item.part}/first work/${item.part}/second
    deps: ["work/${item.part}/first"]
    outs: ["work/${item.part}/second"]
  first:
    matrix: {part: "${categories}"}
    cmd: python stage.py first data/${item.part}/train/good/0.txt work/${item.part}/first
    deps: ["data/${item.part}/train"]
    outs: ["work/${item.part}/first"]
"""
STAGE = """
import json, os, pathlib, sys
name, source, target = sys.argv[1:]
text = pathlib.Path(source).read_text()
if text.startswith("{"):
    if "code" in text:
        pathlib.Path(os.environ["PATCHCORE_ERROR_FILE"]).write_text(text)
    sys.exit(1)
pathlib.Path(target).parent.mkdir(parents=True, exist_ok=True)
words = (text, name, sys.executable, os.environ["PATCHCORE_WORKSPACE"], os.environ["DVC_NO_ANALYTICS"])
pathlib.Path(target).write_text("\\n".join(words))
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A repository with two stages and one tracked category."""
    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    Versioning(workspace).initialise()
    _git(workspace, "reset", "--quiet")
    workspace.params.write_text("categories: [bottle, cable]\n")
    workspace.pipeline.write_text(PIPELINE)
    (workspace.root / "stage.py").write_text(STAGE)
    _change(workspace, "hello")
    Versioning(workspace).track([workspace.normals("bottle")])
    return workspace


def _change(workspace: Workspace, text: str) -> None:
    workspace.good_normals("bottle").mkdir(parents=True, exist_ok=True)
    (workspace.good_normals("bottle") / "0.txt").write_text(text)


def _git(workspace: Workspace, *arguments: str) -> str:
    command = ["git", "-C", str(workspace.root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_initialising_twice_changes_nothing_and_nobody_is_told(workspace: Workspace) -> None:
    before = {file: file.read_bytes() for file in Versioning(workspace).initialise()}
    assert [file.name for file in before] == ["config", ".gitignore", ".dvcignore"]
    assert "analytics = False" in (workspace.root / ".dvc" / "config").read_text()
    assert {file: file.read_bytes() for file in Versioning(workspace).initialise()} == before


def test_a_folder_inside_another_repository_becomes_one_of_its_own(workspace: Workspace) -> None:
    inner = Workspace(workspace.root / "inner")
    inner.root.mkdir()
    (inner.root / ".dvc").mkdir()  # what a crash leaves
    Versioning(inner).initialise()
    assert Path(_git(inner, "rev-parse", "--show-toplevel")) == inner.root.resolve()
    assert (inner.root / ".dvc" / "config").is_file()


def test_tracking_writes_a_pointer_that_names_the_content(workspace: Workspace) -> None:
    versioning = Versioning(workspace)
    first = versioning.pointer_texts("bottle")
    assert list(first) == ["data/bottle/train.dvc"]
    assert "md5: " in first["data/bottle/train.dvc"]
    versioning.track([workspace.normals("bottle")])
    assert versioning.pointer_texts("bottle") == first
    _change(workspace, "world")
    versioning.track([workspace.normals("bottle")])
    assert versioning.pointer_texts("bottle") != first


def test_stages_come_in_the_order_of_the_graph_not_of_the_file(workspace: Workspace) -> None:
    assert Versioning(workspace).stages_to_run("bottle") == ["first@bottle", "second@bottle"]
    with pytest.raises(Refused, match="patchcore add screw FOLDER"):
        Versioning(workspace).stages_to_run("screw")


def test_a_stage_runs_where_something_changed_and_only_there(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # the caller's folder does not matter
    versioning = Versioning(workspace)
    assert [versioning.reproduce(stage) for stage in ("first@bottle", "second@bottle")] == [True, True]
    assert [versioning.reproduce(stage) for stage in ("first@bottle", "second@bottle")] == [False, False]
    _change(workspace, "world")
    assert versioning.reproduce("second@bottle")
    lines = (workspace.root / "work" / "bottle" / "second").read_text().splitlines()
    assert (lines[0], lines[1], lines[5]) == ("world", "first", "second")
    assert Path(lines[6]).parent == Path(sys.executable).parent  # python and python3 are one program
    assert Path(lines[7]) == workspace.root
    assert capfd.readouterr().out == ""


def test_stages_are_to_be_run_until_all_are_up_to_date_and_again_after_any_change(workspace: Workspace) -> None:
    versioning, both = Versioning(workspace), ["first@bottle", "second@bottle"]
    versioning.reproduce("first@bottle")
    assert versioning.stages_to_run("bottle") == both
    versioning.reproduce("second@bottle")
    assert versioning.stages_to_run("bottle") == []
    (workspace.root / "work" / "bottle" / "second").unlink()
    assert versioning.stages_to_run("bottle") == both
    versioning.reproduce("second@bottle")
    _change(workspace, "world")  # the pointer, which has no name, is what changed
    assert versioning.stages_to_run("bottle") == both
    versioning.reproduce("second@bottle")
    assert versioning.stages_to_run("bottle") == []


@pytest.mark.parametrize("kind", [Refused, Fault, UsageError, UnreadableImage])
def test_what_ends_a_stage_is_raised_in_its_own_words(workspace: Workspace, kind: type[PatchcoreError]) -> None:
    words = {"what": "image 0.png", "got": "half a file", "expected": "a whole one", "remedy": "copy it again"}
    _change(workspace, json.dumps({"code": kind.code, **words}))
    with pytest.raises(PatchcoreError) as caught:
        Versioning(workspace).reproduce("second@bottle")
    assert (type(caught.value), str(caught.value)) == (kind, str(kind(**words)))


def test_a_stage_that_ends_without_words_is_a_fault_with_its_name(workspace: Workspace) -> None:
    _change(workspace, "{")
    with pytest.raises(Fault, match=r"stage first@bottle failed.*exited with 1"):
        Versioning(workspace).reproduce("first@bottle")


def test_missing_data_is_refused_with_the_way_to_get_it(workspace: Workspace) -> None:
    (workspace.good_normals("bottle") / "0.txt").unlink()
    workspace.good_normals("bottle").rmdir()
    workspace.normals("bottle").rmdir()
    with pytest.raises(Refused, match=r"train.*dvc pull"):
        Versioning(workspace).reproduce("first@bottle")


def test_a_pipeline_that_is_not_yaml_is_refused(workspace: Workspace) -> None:
    workspace.pipeline.write_text("stages: [")
    with pytest.raises(Refused, match=r"dvc\.yaml"):
        Versioning(workspace).stages_to_run("bottle")


HOLD = """
import sys, zc.lockfile
lock = zc.lockfile.LockFile(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_that_another_process_holds_is_refused_with_its_number(workspace: Workspace) -> None:
    command = [sys.executable, "-c", HOLD, str(workspace.root / ".dvc" / "tmp" / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Refused, match=rf"held by process {holder.pid}\b"):
            Versioning(workspace, lock_wait=0.0).track([workspace.normals("bottle")])
        holder.communicate()
    assert Versioning(workspace, lock_wait=0.0).reproduce("first@bottle")


def test_push_sends_to_the_default_remote_and_says_when_there_is_none(workspace: Workspace, tmp_path: Path) -> None:
    versioning = Versioning(workspace)
    assert versioning.push() is False
    settings = workspace.root / ".dvc" / "config"
    remote = tmp_path / "remote"
    settings.write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    url = {remote}\n")
    assert versioning.push() is True
    assert len([file for file in remote.rglob("*") if file.is_file()]) == 2  # the file and the list of the folder


def test_a_remote_that_takes_nothing_is_a_fault_with_its_name(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "remote").write_text("not a folder")
    settings = workspace.root / ".dvc" / "config"
    settings.write_text(f"[core]\n    remote = store\n['remote \"store\"']\n    url = {tmp_path / 'remote'}\n")
    with pytest.raises(Fault, match="'store'"):
        Versioning(workspace).push()


def test_a_commit_holds_exactly_its_paths(workspace: Workspace) -> None:
    versioning = Versioning(workspace)
    assert versioning.head() is None
    assert versioning.committed_text(workspace.params) is None
    first = versioning.commit([workspace.params, workspace.root / "never was"], "params")
    assert first == versioning.head() == _git(workspace, "rev-parse", "HEAD")
    (workspace.root / "foreign").write_text("staged by somebody else")
    _git(workspace, "add", "foreign")
    assert versioning.commit([workspace.params], "nothing new") is None
    workspace.params.write_text("categories: []\n")
    assert versioning.commit([workspace.params, *workspace.pointers("bottle")], "two files") not in {None, first}
    assert _git(workspace, "show", "--name-only", "--format=%s").split("\n") == [
        "two files",
        "",
        "data/bottle/train.dvc",
        "params.yaml",
    ]
    assert _git(workspace, "diff", "--cached", "--name-only") == "foreign"
    assert versioning.committed_text(workspace.params) == "categories: []\n"


def test_a_commit_of_a_pointer_leaves_alone_what_others_staged_beside_it(workspace: Workspace) -> None:
    versioning = Versioning(workspace)
    folder, (pointer, *_) = workspace.category("bottle"), workspace.pointers("bottle")
    notes, gone = folder / "notes.md", folder / "gone.md"
    for file in (notes, gone):
        file.write_text("old\n")
    versioning.commit([notes, gone, pointer], "before")
    # A person is in the middle of something: staged changes and more on top, a new file, a deleted one.
    notes.write_text("staged\n")
    (folder / "new.md").write_text("staged\n")
    gone.unlink()
    (workspace.root / "foreign").write_text("staged elsewhere\n")
    _git(workspace, "add", "data/bottle/notes.md", "data/bottle/new.md", "data/bottle/gone.md", "foreign")
    notes.write_text("not staged yet\n")
    staged = _git(workspace, "diff", "--cached")
    _change(workspace, "other bytes")
    versioning.track([workspace.normals("bottle")])
    assert versioning.commit([workspace.arrivals("bottle"), *workspace.pointers("bottle")], "Ingest") is not None
    assert _git(workspace, "show", "--name-only", "--format=") == "data/bottle/train.dvc"
    assert _git(workspace, "diff", "--cached") == staged
    assert _git(workspace, "show", ":data/bottle/notes.md") == "staged"
    assert notes.read_text() == "not staged yet\n"


def test_a_commit_that_is_declined_leaves_alone_what_others_staged(workspace: Workspace) -> None:
    versioning = Versioning(workspace)
    versioning.commit([workspace.params], "params")
    (workspace.root / "foreign").write_text("staged by somebody else")
    _git(workspace, "add", "foreign")
    hook = workspace.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Refused):
        versioning.commit(workspace.pointers("bottle"), "Ingest")
    assert "foreign" in _git(workspace, "diff", "--cached", "--name-only").split("\n")
    hook.unlink()
    assert versioning.commit(workspace.pointers("bottle"), "Ingest")  # the next attempt makes up for it
    assert _git(workspace, "show", "--name-only", "--format=") == "data/bottle/train.dvc"
    assert _git(workspace, "diff", "--cached", "--name-only") == "foreign"


def test_a_deleted_path_is_committed_as_deleted(workspace: Workspace) -> None:
    versioning = Versioning(workspace)
    versioning.commit([workspace.params, workspace.pipeline], "two files")
    workspace.params.unlink()
    assert versioning.commit([workspace.params], "one less")
    assert _git(workspace, "ls-files") == "dvc.yaml"


def test_a_commit_needs_no_identity_and_obeys_no_foreign_hook(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("GIT_", "EMAIL"))]:
        monkeypatch.delenv(name)
    (tmp_path / "gitconfig").write_text("[user]\n    useConfigOnly = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))  # as inside a hook
    commit = Versioning(workspace).commit([workspace.params], "params")
    monkeypatch.delenv("GIT_DIR")
    assert commit == _git(workspace, "rev-parse", "HEAD")
    assert _git(workspace, "log", "-1", "--format=%an <%ae>") == "patchcore <patchcore@localhost>"


def test_after_a_kill_only_locks_that_nobody_owns_are_removed(workspace: Workspace) -> None:
    versioning = Versioning(workspace)
    versioning.commit([workspace.params], "params")
    lock = workspace.root / ".git" / "index.lock"
    (workspace.root / ".git" / "patchcore").write_text("git is writing\n")  # what a kill leaves
    lock.touch()
    workspace.params.write_text(workspace.params.read_text() + "\n")
    waiting = ["git", "-C", str(workspace.root), "hash-object", "--stdin"]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as somebody:
        with pytest.raises(Refused, match=r"git is working in .*index\.lock"):
            versioning.commit([workspace.params], "params again")
        assert lock.exists()
        assert somebody.stdin is not None
        somebody.stdin.close()
    assert versioning.commit([workspace.params], "params again")
    assert not lock.exists()


def test_a_commit_that_git_declines_is_refused_with_its_words(workspace: Workspace) -> None:
    hook = workspace.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho not on a Sunday >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(Refused, match="not on a Sunday"):
        Versioning(workspace).commit([workspace.params], "params")


def test_the_code_version_names_the_commit_of_a_checkout_only(tmp_path: Path) -> None:
    assert code_version().startswith("0.")
    git = Git(tmp_path)
    git.initialise()
    (tmp_path / "__init__.py").write_text("")
    assert git.describe() is None  # a package that git does not track is no checkout
    commit = git.commit([tmp_path / "__init__.py"], "one")
    assert commit is not None
    assert git.describe() == commit[:7]
    (tmp_path / "__init__.py").write_text("changed")
    assert git.describe() == f"{commit[:7]}-dirty"
