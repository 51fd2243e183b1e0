"""The files that came in a folder, and what lies between them that cannot be taken."""

import os
from dataclasses import dataclass
from pathlib import Path

from patchcore.errors import Refused


@dataclass(frozen=True)
class Skipped:
    """Something that stays where it is because it is no file: its path, and why."""

    source: str
    reason: str


def list_candidates(folder: Path) -> tuple[list[Path], list[Skipped]]:
    """Return every visible file below a folder, ordered by its posix path, and what is skipped.

    One link to a folder, or a pipe, among images that came must not keep out all the others. Links to files are files,
    those that lead nowhere too: validation finds them. A folder that does not exist has none.

    Raises:
        Refused: a folder cannot be listed.
    """
    if not folder.is_dir():
        return [], []
    found: list[Path] = []
    skipped: list[Skipped] = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in (*folders, *(name for name in names if not name.startswith("."))):
            path = Path(parent, name)
            if reason := _why_skipped(path):
                skipped.append(Skipped(str(path), reason))
            elif name not in folders:
                found.append(path)
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix()), skipped


def _why_skipped(path: Path) -> str | None:
    if path.is_dir() and path.is_symlink():
        return "a link to a folder: put a copy of that folder in its place, or ingest it by its own name"
    if path.exists() and not path.is_file() and not path.is_dir():
        return "a pipe, a socket or a device"  # to read a pipe that nobody writes would wait for ever
    return None


def _refuse(error: OSError) -> None:
    got = error.strerror or str(error)
    raise Refused(f"{error.filename} cannot be listed", got, "a folder that can be read", "mend its rights") from error
