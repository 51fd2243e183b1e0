"""What DVC keeps of a folder as it once was, read as files: real pointers, a real cache."""

import shutil
from collections.abc import Callable
from pathlib import Path

from patchcore.adapters.versioning.dvc_cache import kept_file
from patchcore.adapters.versioning.repository import Versioning
from patchcore.config.workspace import Workspace

Copy = Callable[[Workspace, Path], Workspace]
FOLDER = "data/cell/train/good"


def test_a_file_of_an_earlier_version_is_found_by_the_pointers_of_then(
    bare: Workspace, copy: Copy, tmp_path: Path
) -> None:
    workspace = copy(bare, tmp_path / "workspace")
    versioning = Versioning(workspace)
    pointers = versioning.pointer_texts("cell")
    image = sorted(workspace.good_normals("cell").iterdir())[0]
    content, path = image.read_bytes(), workspace.relative(image)
    image.unlink()
    versioning.track([workspace.normals("cell")])
    kept = kept_file(workspace, pointers, path)
    assert kept is not None
    assert kept.read_bytes() == content
    assert kept_file(workspace, versioning.pointer_texts("cell"), path) is None  # the later version has it no more


def test_what_is_in_no_pointer_or_not_in_the_cache_is_not_found(bare: Workspace, copy: Copy, tmp_path: Path) -> None:
    workspace = copy(bare, tmp_path / "workspace")
    pointers = Versioning(workspace).pointer_texts("cell")
    path = workspace.relative(sorted(workspace.good_normals("cell").iterdir())[0])
    assert kept_file(workspace, pointers, f"{FOLDER}/nobody.png") is None
    assert kept_file(workspace, pointers, "elsewhere/a.png") is None
    assert kept_file(workspace, pointers, "/outside/a.png") is None
    assert kept_file(workspace, dict.fromkeys(pointers, "outs: []"), path) is None
    lists = list((workspace.root / ".dvc/cache").rglob("*.dir"))
    for file in lists:
        file.chmod(0o644)
        file.write_text("not a list")
    assert kept_file(workspace, pointers, path) is None
    shutil.rmtree(workspace.root / ".dvc/cache")
    assert kept_file(workspace, pointers, path) is None
