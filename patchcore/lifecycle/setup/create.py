"""Making a workspace."""

from pathlib import Path

from patchcore._util.files import write_bytes
from patchcore.adapters.versioning.repository import Versioning
from patchcore.config.params_file import params_text
from patchcore.config.workspace import Workspace, find_workspace
from patchcore.errors import InvalidPath
from patchcore.lifecycle.setup.templates import ignore_text, pipeline_text


def init(folder: Path) -> Workspace:
    """Make a folder a workspace: git, DVC, params.yaml, dvc.yaml, a first commit.

    A file that exists stays as it is, so a second call changes nothing, and a call after a crash completes the first.

    Args:
        folder: The folder; it is made if it does not exist.

    Raises:
        InvalidPath: The path is that of a file, or has a character that database addresses cannot contain.
        GitFailed: Git is missing or fails.
    """
    _require_plain_path(folder.resolve())
    if folder.exists() and not folder.is_dir():
        raise InvalidPath(f"no workspace at {folder}", got="a file", expected="a folder", remedy="name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(folder.resolve())
    versioning = Versioning(workspace)
    kept = versioning.initialise()
    kept += [workspace.params, workspace.pipeline, workspace.ignore_file]
    before = workspace.ignore_file.read_text(encoding="utf-8") if workspace.ignore_file.is_file() else ""
    ignored = ignore_text(before, keep_link=True)
    if ignored != before:
        write_bytes(workspace.ignore_file, ignored.encode())
    for file, content in ((workspace.params, params_text()), (workspace.pipeline, pipeline_text())):
        if not file.exists():
            write_bytes(file, content.encode())
    new = [workspace.ignore_file] if ignored != before else []
    new += [file for file in kept if versioning.committed_text(file) is None]  # not what a person edited
    versioning.commit(new, "Make a workspace")
    return find_workspace(workspace.root)


def _require_plain_path(folder: Path) -> None:
    # MLflow and Prefect pass the paths of their databases in URLs, and decode them more than once.
    if found := sorted({sign for sign in str(folder) if sign in "?%"}):
        raise InvalidPath(
            f"no workspace at {folder}",
            got=f"a path with {' and '.join(found)}",
            expected="a path without ? and %, which database addresses cannot carry",
            remedy="name another folder",
        )
