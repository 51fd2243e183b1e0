"""Repair of DVC's own files after DVC was killed, where DVC does not repair them. Call it with DVC's lock held."""

import json
import re
from contextlib import suppress
from pathlib import Path

_TEMPORARY = re.compile(r"\.[A-Za-z0-9_-]{22}\.tmp")


def repair_dvc(root: Path) -> None:
    """Remove the files that DVC had written in part when it was killed; do nothing if there are none.

    DVC 3 refuses to work with a lock file that was written in part, and fails on an empty folder in its run cache.

    Args:
        root: The workspace's folder.
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
