"""The files of a folder that may become normal images."""

import os
from dataclasses import dataclass
from pathlib import Path

from patchcore.config.workspace import Workspace
from patchcore.errors import InvalidPath, NoImages


@dataclass(frozen=True)
class NotAFile:
    """Something in a folder that ingest skips, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Listing:
    """What a folder holds.

    Attributes:
        files: Every visible file below the folder, ordered by posix path.
        skipped: What is neither a file nor a folder of its own.
    """

    files: tuple[Path, ...] = ()
    skipped: tuple[NotAFile, ...] = ()


def is_drop_folder(workspace: Workspace, category: str, folder: Path) -> bool:
    """Say whether a folder is the category's drop folder, or below it."""
    return folder.resolve().is_relative_to(workspace.drop(category).resolve())


def check_new_images(workspace: Workspace, category: str, folder: Path) -> Listing:
    """Return what a folder holds; changes nothing.

    Raises:
        NoImages: The folder holds no files, and is not the category's drop folder.
        InvalidPath: A folder cannot be listed.
    """
    listing = list_candidates(folder)
    if listing.files or is_drop_folder(workspace, category, folder):
        return listing
    got = "an empty folder" if folder.is_dir() else "a file" if folder.exists() else "no such folder"
    got = listing.skipped[0].reason if listing.skipped else got
    raise NoImages(f"{folder} holds no images", got, "a folder with new normal images", "check the path")


def list_candidates(folder: Path) -> Listing:
    """Return what a folder holds. A folder that does not exist holds nothing.

    Links to folders, pipes, sockets and devices are skipped, so that one of them does not keep the images out. Links
    to files count as files, broken links too: validation finds them.

    Raises:
        InvalidPath: A folder cannot be listed.
    """
    if not folder.is_dir():
        return Listing()
    files: list[Path] = []
    skipped: list[NotAFile] = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in (*folders, *(name for name in names if not name.startswith("."))):
            path = Path(parent, name)
            if reason := _why_skipped(path):
                skipped.append(NotAFile(path, reason))
            elif name not in folders:
                files.append(path)
    return Listing(tuple(sorted(files, key=lambda path: path.relative_to(folder).as_posix())), tuple(skipped))


def _why_skipped(path: Path) -> str | None:
    if path.is_dir() and path.is_symlink():
        return "a link to a folder: put a copy of that folder in its place, or ingest it by its own name"
    if path.exists() and not path.is_file() and not path.is_dir():
        return "a pipe, a socket or a device"  # reading a pipe without a writer never returns
    return None


def _refuse(error: OSError) -> None:
    got = error.strerror or str(error)
    raise InvalidPath(
        f"{error.filename} cannot be listed", got, "a folder that can be read", "check its access rights"
    ) from error
