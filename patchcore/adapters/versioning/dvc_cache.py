"""Earlier versions of files, read from DVC's cache as plain files.

The pointer of a folder names a list of its files by md5, and the list names each file by md5. Only the cache in the
workspace is read: not one that was moved (`dvc cache dir`), and not a remote.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from patchcore.config.workspace import Workspace, pointer_of

_MD5 = re.compile(r"md5: ([0-9a-f]{32}\.dir)")


def kept_file(workspace: Workspace, pointers: Mapping[str, str], path: str) -> Path | None:
    """Return where DVC's cache has the bytes of a file in an earlier version of its folder; None if it does not.

    Args:
        workspace: The workspace.
        pointers: The text of each pointer of that version, by its path.
        path: The path of the file in that version, below the workspace.
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
