"""What is in a folder of new images, and the check that a command makes before Prefect starts."""

from pathlib import Path

import pytest

from patchcore.config.workspace import Workspace
from patchcore.errors import NoImages
from patchcore.lifecycle.intake.candidates import check_new_images


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


def test_the_check_lists_files_and_changes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "deeper").mkdir(parents=True)
    for name in ("b.png", "deeper/a.png", ".hidden.png", ".b.png.patchcore-taking"):
        (photos / name).write_bytes(b"x")
    listing = check_new_images(workspace, "part", photos)
    assert [path.relative_to(photos).as_posix() for path in listing.files] == ["b.png", "deeper/a.png"]
    assert len(list(photos.rglob("*"))) == 5
    assert not workspace.root.exists()


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, Path.touch])
def test_a_folder_without_files_is_refused(workspace: Workspace, tmp_path: Path, make: object) -> None:
    make(tmp_path / "photos")  # type: ignore[operator]
    with pytest.raises(NoImages) as refused:
        check_new_images(workspace, "part", tmp_path / "photos")
    assert refused.value.code == "no-images"


def test_the_drop_folder_may_be_empty_or_missing(workspace: Workspace) -> None:
    assert check_new_images(workspace, "part", workspace.drop("part")).files == ()
    workspace.drop("part").mkdir(parents=True)
    assert check_new_images(workspace, "part", workspace.drop("part")).files == ()
