"""What DVC still keeps of folders as they once were, read from its cache as plain files.

The pointer of a folder names a list of its files by md5, and the list each file likewise. A cache that was moved away
(`dvc cache dir`) is not looked into; a remote is not asked.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from patchcore.config.workspace import Workspace, pointer_of

_MD5 = re.compile(r"md5: ([0-9a-f]{32}\.dir)")


def kept_file(workspace: Workspace, pointers: Mapping[str, str], path: str) -> Path | None:
    """Return where DVC keeps the bytes that a file had when its folder's pointer said so; None where it does not.

    Args:
        workspace: the workspace.
        pointers: the text of each pointer, by its path.
        path: of the file then, below the workspace.
    """
    for folder in PurePosixPath(path).parents:
        pointer = pointers.get(pointer_of(Path(folder)).as_posix()) if folder.name else None
        if pointer and (named := _MD5.search(pointer)):
            return _listed(workspace, named[1], PurePosixPath(path).relative_to(folder).as_posix())
    return None


def _listed(workspace: Workspace, md5: str, inside: str) -> Path | None:
    try:
        entries = json.loads(workspace.dvc_object(md5).read_text(encoding="utf-8"))
        names = {entry["relpath"]: workspace.dvc_object(entry["md5"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    kept = names.get(inside)
    return kept if kept is not None and kept.is_file() else None
