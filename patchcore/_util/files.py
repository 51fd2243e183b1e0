"""Files and folders that are written in one step, so that no reader sees half of one; the digest of a file."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20
_TEMPORARY = r"[a-z0-9_]{8}"  # what tempfile puts behind a name


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's bytes as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of a value: sorted keys, indented, no NaN, a newline at the end.

    Raises:
        ValueError: the value holds a NaN or an infinity, which JSON cannot hold.
    """
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def read_json(path: Path) -> Any:
    """Return the value of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: a temporary neighbour, fsync, rename. Parents are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _temporary_file(path)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a value as canonical JSON, in one step."""
    write_bytes(path, canonical_json(value))


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes ``path`` when the block ends well, and vanishes when it does not.

    An older folder at ``path`` is replaced. Every file in the new one is fsynced before the rename.
    """
    with staging(path.parent, path.name) as temporary:
        yield temporary
        show_folder(temporary, path)


@contextmanager
def staging(parent: Path, name: str) -> Iterator[Path]:
    """Yield a hidden folder in ``parent``; it vanishes when the block ends, unless `show_folder` gave it a name.

    A folder that a killed writer left under the same name is removed. A running writer holds a lock on its folder.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(parent, re.escape(name))
    temporary, handle = _locked_folder(parent, name)
    try:
        temporary.chmod(0o777 & ~_umask())
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(handle)


def show_folder(temporary: Path, path: Path) -> None:
    """Flush a folder of `staging` to the disk, and rename it to ``path``; an older folder there is replaced."""
    for entry in sorted(temporary.rglob("*")):
        sync(entry)
    sync(temporary)
    _replace_folder(temporary, path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Flush a file's bytes, or a folder's entries (the names, not the bytes of its files), to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary JSON, CSV and cache files that killed writers left in a folder; those in use stay."""
    if folder.is_dir():
        _remove_abandoned(folder, r".+\.(json|csv|cache)")  # not any name: others have hidden files too


def remove_leftovers(folder: Path, pattern: str, older_than: float) -> None:
    """Remove temporary files that killed writers left.

    Args:
        folder: where to look, at any depth.
        pattern: names of files that `write_bytes` writes here; a temporary one has such a name with something added.
        older_than: seconds since the last change. A running writer changes its file all the time.
    """
    limit = time.time() - older_than
    for entry in folder.rglob(f".{pattern}.*"):
        with suppress(FileNotFoundError):  # its writer removed it meanwhile
            if entry.is_file() and entry.stat().st_mtime < limit:
                entry.unlink()


def _replace_folder(temporary: Path, path: Path) -> None:
    parent = os.open(path.parent, os.O_RDONLY)
    try:
        _lock(parent, fcntl.LOCK_EX)  # one writer at a time
        if path.exists():
            _step_aside(temporary, path)
        else:
            temporary.rename(path)
    finally:
        os.close(parent)


def _step_aside(temporary: Path, path: Path) -> None:
    # rename(2) does not replace a folder that is not empty: the old one steps aside first.
    aside, handle = _locked_folder(path.parent, f"{path.name}.old")
    try:
        path.rename(aside / "old")
        try:
            temporary.rename(path)
        except BaseException:
            (aside / "old").rename(path)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        os.close(handle)


def _locked_folder(parent: Path, name: str) -> tuple[Path, int]:
    while True:
        temporary = Path(tempfile.mkdtemp(dir=parent, prefix=f".{name}."))
        with suppress(FileNotFoundError):
            handle = os.open(temporary, os.O_RDONLY)
            _lock(handle, fcntl.LOCK_EX)
            if temporary.exists():  # else another process removed it before it was locked
                return temporary, handle
            os.close(handle)


def _remove_abandoned(parent: Path, name: str) -> None:
    left = re.compile(rf"\.{name}\.(old\.)?{_TEMPORARY}")
    for entry in [entry for entry in parent.iterdir() if left.fullmatch(entry.name) and not entry.is_symlink()]:
        with suppress(FileNotFoundError):
            handle = os.open(entry, os.O_RDONLY)
            if _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink()
            os.close(handle)


def _lock(handle: int, how: int) -> bool:
    """Lock an open folder until it is closed or this process ends; say whether that was possible here."""
    try:
        fcntl.flock(handle, how)
    except OSError:
        return False
    return True


def _temporary_file(path: Path) -> tuple[int, Path]:
    """Make a file beside ``path``, locked until its handle is closed or its writer ends."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        _lock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else another process removed it before it was locked
            return handle, Path(name)
        os.close(handle)


@cache
def _umask() -> int:
    """Return the umask that this process had when it first wrote a file.

    It is never set, not even for a moment: `os.umask` sets it for all threads, and two that read it so could leave 0.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:  # not Linux
        status = ""
    found = re.search(r"^Umask:\s*([0-7]+)$", status, re.MULTILINE)
    return int(found[1], 8) if found else _umask_of_a_new_file()


def _umask_of_a_new_file() -> int:
    """Return the permissions that the system withholds from a new file."""
    with tempfile.TemporaryDirectory() as folder:
        handle = os.open(Path(folder, "file"), os.O_CREAT | os.O_WRONLY, 0o777)
        try:
            return 0o777 & ~os.fstat(handle).st_mode
        finally:
            os.close(handle)
