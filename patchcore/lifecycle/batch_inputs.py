"""The files of a batch: what each is recorded under, and where a recorded one is found again."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patchcore._util.files import sha256_of
from patchcore.adapters.ledger.records import ImageScore
from patchcore.config.workspace import Workspace
from patchcore.errors import Refused
from patchcore.images.decoding import list_images


@dataclass(frozen=True)
class Received:
    """One file of a batch: the name it is recorded under, and its digest."""

    file: Path
    path: str
    sha256: str | None


@dataclass(frozen=True)
class Found:
    """A recorded image and the file that holds its bytes now.

    Attributes:
        image: as the ledger has it.
        file: None where there is no such file any more.
        reason: why there is none.
    """

    image: ImageScore
    file: Path | None
    reason: str | None


def receive(workspace: Workspace, folder: Path) -> list[Received]:
    """List the files of a batch with their digests.

    Raises:
        Refused: the folder is missing or empty.
    """
    files = list_images(folder)
    if not files:
        got = "an empty folder" if folder.is_dir() else "no such folder"
        raise Refused(f"no batch in {folder}", got=got, expected="a folder with images", remedy="check the path")
    return [Received(file, _recorded_name(workspace, file), _digest(file)) for file in files]


def find(workspace: Workspace, images: Sequence[ImageScore], folder: Path | None = None) -> list[Found]:
    """Find recorded images by their bytes: where they were, or else anywhere below a folder.

    An image of which no byte could be read has no digest: it is found where nothing can be read still.

    Raises:
        Refused: the folder is missing or empty.
    """
    elsewhere = {file.sha256: file.file for file in receive(workspace, folder)} if folder else {}
    return [_find(workspace, image, elsewhere.get(image.sha256) if image.sha256 else None) for image in images]


def _find(workspace: Workspace, image: ImageScore, other: Path | None) -> Found:
    file = workspace.root / image.path  # a path outside the workspace is recorded in full
    actual = _digest(file)
    if actual == image.sha256:
        return Found(image, file, None)
    if other is not None:
        return Found(image, other, None)
    return Found(image, None, "no such file" if actual is None else f"other bytes, sha256 {actual}")


def _recorded_name(workspace: Workspace, file: Path) -> str:
    """Return a path below the workspace as it is there, any other one in full; links are left as they are."""
    full = file.absolute()
    name = workspace.relative(full) if full.is_relative_to(workspace.root) else full.as_posix()
    # A name that is not UTF-8 has its odd bytes written out: a database takes text.
    return os.fsencode(name).decode("utf-8", errors="backslashreplace")


def _digest(file: Path) -> str | None:
    try:
        return sha256_of(file)
    except OSError:
        return None
