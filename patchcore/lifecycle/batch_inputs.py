"""The files of a batch: the name that each is recorded under, and where a recorded image is found again."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patchcore._util.files import sha256_of
from patchcore.adapters.ledger.records import ImageScore
from patchcore.config.workspace import Workspace
from patchcore.errors import NoImages
from patchcore.images.decoding import list_images


@dataclass(frozen=True)
class Received:
    """One file of a batch.

    Attributes:
        file: Where the file is.
        path: The path that it is recorded under: relative to the workspace if it is below it, else absolute.
        sha256: The digest of its bytes; None if they cannot be read.
    """

    file: Path
    path: str
    sha256: str | None


@dataclass(frozen=True)
class Found:
    """A recorded image, and the file that has its bytes now.

    Attributes:
        image: The image, as recorded.
        file: The file; None if no file with these bytes was found.
        reason: Why no file was found; None if one was.
    """

    image: ImageScore
    file: Path | None
    reason: str | None


def check_images(folder: Path) -> list[Path]:
    """List the files of a batch without reading them.

    Raises:
        NoImages: The folder is missing or empty.
    """
    files = list_images(folder)
    if not files:
        got = "an empty folder" if folder.is_dir() else "no such folder"
        raise NoImages(f"no batch in {folder}", got=got, expected="a folder with images", remedy="check the path")
    return files


def receive(workspace: Workspace, folder: Path) -> list[Received]:
    """List the files of a batch with their digests; each file is read once.

    Raises:
        NoImages: The folder is missing or empty.
    """
    return [Received(file, _recorded_path(workspace, file), _digest(file)) for file in check_images(folder)]


def find(workspace: Workspace, images: Sequence[ImageScore], folder: Path | None = None) -> list[Found]:
    """Find recorded images by their bytes: at the recorded path, or else anywhere below a folder.

    The files of the folder are read only if an image is not at its recorded path. An image without a digest, whose
    bytes could not be read, is found if there is still nothing to read at its path.

    Raises:
        NoImages: The folder is missing or empty.
    """
    if folder is not None:
        check_images(folder)
    files = [workspace.root / image.path for image in images]  # a path outside the workspace is recorded as absolute
    actual = [_digest(file) for file in files]
    moved: dict[str | None, Path] = {}
    if folder is not None and any(image.sha256 != digest for image, digest in zip(images, actual, strict=True)):
        moved = {each.sha256: each.file for each in receive(workspace, folder) if each.sha256 is not None}
    return [
        _found(image, file, digest, moved.get(image.sha256))
        for image, file, digest in zip(images, files, actual, strict=True)
    ]


def _found(image: ImageScore, file: Path, digest: str | None, moved: Path | None) -> Found:
    if digest == image.sha256:
        return Found(image, file, None)
    if moved is not None:
        return Found(image, moved, None)
    return Found(image, None, "no such file" if digest is None else f"other bytes, sha256 {digest}")


def _recorded_path(workspace: Workspace, file: Path) -> str:
    """Return a path below the workspace as relative to it, another path as absolute; links are not resolved."""
    full = file.absolute()
    path = workspace.relative(full) if full.is_relative_to(workspace.root) else full.as_posix()
    # Databases store Unicode text, so bytes that are not UTF-8 become escapes such as \xe9.
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def _digest(file: Path) -> str | None:
    try:
        return sha256_of(file)
    except OSError:
        return None
