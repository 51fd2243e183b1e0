"""Which files of a drop folder are complete: those that have not changed for a while.

The program that writes into the folder may run on a camera's PC at the other end of a network drive. There, inotify
does not work, the clocks of the two machines differ, and a copy may keep the time of its original. So a file is
complete if its time and size stay the same for a while by the clock of this machine; the value of its time is not
used. Opening the file makes a network drive read its state again, past any cache.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_UNFINISHED = (".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp", ".temp", ".swp", "~")


@dataclass(frozen=True)
class Stamp:
    """What changes when a file does.

    Attributes:
        size: Bytes.
        modified: When its content changed, nanoseconds since 1970.
        changed: When its entry changed, nanoseconds since 1970. A copy cannot keep this time of its original, so it
            differs between a file and another one that comes under the same name later.
    """

    size: int
    modified: int
    changed: int


Files = Mapping[str, Stamp]


def is_unfinished(name: str) -> bool:
    """Say whether programs give such a name to a file while they write it, to rename it later.

    >>> is_unfinished("7.png.part"), is_unfinished("~$7.png"), is_unfinished("7.png")
    (True, True, False)
    """
    return name.startswith((".", "~$")) or name.lower().endswith(_UNFINISHED)


def look(folder: Path) -> dict[str, Stamp]:
    """Return the stamp of each file below a folder by its relative path; a folder that does not exist has none.

    Raises:
        OSError: The folder cannot be listed.
    """
    return {Path(entry.path).relative_to(folder).as_posix(): stamp for entry, stamp in _entries(folder)}


def look_again(folder: Path, name: str) -> Stamp | None:
    """Return the present stamp of one file, past any cache; None if it is gone, or its writer keeps it locked."""
    try:
        with (folder / name).open("rb") as stream:
            return _stamp(os.fstat(stream.fileno()))
    except OSError:
        return None


def identities(files: Files) -> frozenset[str]:
    """Return a digest of the name and the stamp of each file: it changes when the file does."""
    lines = (f"{name}\0{stamp.size}\0{stamp.modified}\0{stamp.changed}" for name, stamp in files.items())
    return frozenset(hashlib.sha256(line.encode(errors="surrogateescape")).hexdigest() for line in lines)


class Settling:
    """Follows the files of one folder over several looks. All its times are seconds of a monotonic clock.

    Args:
        seconds: How long a file must stay the same to count as complete.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._first: dict[str, float] = {}  # when a name was first seen
        self._since: dict[str, tuple[Stamp, float]] = {}  # when its file was first seen as it is now

    def update(self, files: Files, now: float) -> None:
        """Take over the result of a look at the folder."""
        known = self._since
        self._first = {name: self._first.get(name, now) for name in files}
        self._since = {
            name: known[name] if name in known and known[name][0] == stamp else (stamp, now)
            for name, stamp in files.items()
        }

    def settled(self, now: float) -> dict[str, Stamp]:
        """Return the files that are whole."""
        return {name: stamp for name, (stamp, since) in self._since.items() if now - since >= self._seconds}

    def unsettle(self, name: str, now: float) -> None:
        """Start the time of a file again that seemed whole and is not."""
        self._since[name] = (self._since[name][0], now)

    def calm(self, now: float) -> bool:
        """Say whether all files are whole."""
        return len(self.settled(now)) == len(self._since)

    def age(self, names: Iterable[str], now: float) -> float:
        """Return how long the first of these files has been in the folder; 0 if there is none."""
        return max((now - self._first[name] for name in names), default=0.0)

    def restless(self, seconds: float, now: float) -> set[str]:
        """Return the files that have been in the folder for so long and are not whole yet."""
        return {name for name, first in self._first.items() if now - first >= seconds} - self.settled(now).keys()


def _entries(folder: Path) -> "Iterator[tuple[os.DirEntry[str], Stamp]]":
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:  # nothing was dropped yet, or the folder was removed between two looks
        return
    for entry in entries:
        if is_unfinished(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path))
        elif (stamp := _stamp_of(entry)) is not None:
            yield entry, stamp


def _stamp_of(entry: "os.DirEntry[str]") -> Stamp | None:
    try:
        return _stamp(entry.stat()) if entry.is_file() else None
    except FileNotFoundError:  # it was removed meanwhile
        return None


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
