"""The sha256 of files, each read once for as long as it does not change."""

import time
from pathlib import Path
from typing import NamedTuple

from patchcore._util.files import sha256_of

_GRANULARITY = 2.0  # seconds: the coarsest file time in use (FAT); a younger file may change without a new time


class _State(NamedTuple):
    """What changes when a file does: which file it is, its size, and the times of its content and its entry."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int


class FileDigests:
    """Remembers the digests of files for one command.

    A digest is used again only while the file's inode, size and times (nanoseconds) are those that it had when it was
    read. A file whose content changed less than two seconds before it was read is not remembered, because the next
    change may leave no trace in its times.

    Example:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "image.png")
        ...     _ = file.write_bytes(b"old")
        ...     os.utime(file, (0, 0))
        ...     digests = FileDigests()
        ...     first, again = digests.of(file), digests.of(file)
        ...     _ = file.write_bytes(b"new")
        ...     first == again, first == digests.of(file), digests.read
        (True, False, 2)
    """

    def __init__(self) -> None:
        self._known: dict[Path, tuple[_State, str]] = {}
        self.read = 0
        """How many files were read so far."""

    def of(self, path: Path) -> str:
        """Return the sha256 of a file's bytes, 64 hexadecimal digits.

        Raises:
            OSError: The file cannot be read.
        """
        before, now = _state_of(path), time.time_ns()
        known = self._known.get(path)
        if known is not None and known[0] == before:
            return known[1]
        sha256 = sha256_of(path)
        self.read += 1
        if _state_of(path) == before and now - before.modified > _GRANULARITY * 1e9:
            self._known[path] = (before, sha256)
        return sha256

    def remember(self, path: Path, sha256: str) -> None:
        """Remember the digest of a file that this process has just written whole.

        Raises:
            OSError: The file is gone.
        """
        self._known[path] = (_state_of(path), sha256)


def _state_of(path: Path) -> _State:
    found = path.stat()
    return _State(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
