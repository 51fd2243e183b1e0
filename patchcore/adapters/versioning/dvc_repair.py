"""What a kill leaves of DVC's own files and DVC itself does not get over; to be called with DVC's lock held."""

import json
import re
from contextlib import suppress
from pathlib import Path

_TEMPORARY = re.compile(r"\.[A-Za-z0-9_-]{22}\.tmp")


def mend(root: Path) -> None:
    """Remove what DVC was in the middle of writing when it was killed; nothing where it was not.

    DVC 3 refuses to work with a file of locks that is torn, and stumbles over an empty folder in its cache of runs.

    Args:
        root: of the workspace.
    """
    locks = root / ".dvc" / "tmp" / "rwlock"
    if locks.is_file() and not _is_json(locks):
        locks.unlink()
    for folder in (root / ".dvc" / "cache" / "runs").glob("??/*"):
        _remove_temporary(folder)
        with suppress(OSError):  # it is not empty
            folder.rmdir()
    for top in ("data", "work", "reports"):
        for folder in (root / top).glob("*"):
            _remove_temporary(folder)


def _remove_temporary(folder: Path) -> None:
    for entry in folder.iterdir() if folder.is_dir() else ():
        if _TEMPORARY.fullmatch(entry.name) and not entry.is_dir():
            entry.unlink(missing_ok=True)


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True
