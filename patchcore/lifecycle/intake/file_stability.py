"""Which files of a drop folder are whole: those that have not changed for a while.

Whoever writes into the folder may be a camera's PC at the other end of a network drive. There is nothing like inotify
there, the clocks of the two machines differ, and a copy may keep the time of its original. So nothing is concluded
from what a file's time says, only from that it stays the same, along with the size, by our own clock; and a network
drive that remembers answers is made to look again by opening the file.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_UNFINISHED = (".part", ".partial", ".filepart", ".crdownload", ".download", ".tmp", ".temp", ".swp", "~")


@dataclass(frozen=True)
class Stamp:
    """What changes when a file does: its size in bytes, and when its content and its entry changed, in nanoseconds.

    The entry's time is the one that a copy cannot keep: it tells a file from another that came under its name later.
    """

    size: int
    modified: int
    changed: int


Files = Mapping[str, Stamp]


def is_unfinished(name: str) -> bool:
    """Say whether a name is one that programs give to a file while they write it: they will rename it.

    >>> is_unfinished("7.png.part"), is_unfinished("~$7.png"), is_unfinished("7.png")
    (True, True, False)
    """
    return name.startswith((".", "~$")) or name.lower().endswith(_UNFINISHED)


def look(folder: Path) -> dict[str, Stamp]:
    """Return the files below a folder by their paths in it; a folder that does not exist has none.

    Raises:
        OSError: the folder cannot be listed.
    """
    return {Path(entry.path).relative_to(folder).as_posix(): stamp for entry, stamp in _entries(folder)}


def look_again(folder: Path, name: str) -> Stamp | None:
    """Return the stamp of one file as its server knows it; None where it is gone, or its writer keeps others out."""
    try:
        with (folder / name).open("rb") as stream:
            return _stamp(os.fstat(stream.fileno()))
    except OSError:
        return None


def identities(files: Files) -> frozenset[str]:
    """Return a digest of each file: of its name and its stamp, so that it changes when the file does."""
    lines = (f"{name}\0{stamp.size}\0{stamp.modified}\0{stamp.changed}" for name, stamp in files.items())
    return frozenset(hashlib.sha256(line.encode(errors="surrogateescape")).hexdigest() for line in lines)


class Settling:
    """Follows the files of one folder from look to look; its times are seconds of a clock that only runs forward.

    Args:
        seconds: for which a file must not change to count as whole.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._first: dict[str, float] = {}  # when a name was first seen
        self._since: dict[str, tuple[Stamp, float]] = {}  # when its file was first seen as it is now

    def update(self, files: Files, now: float) -> None:
        """Take notice of all files of the folder, as a look found them."""
        known = self._since
        self._first = {name: self._first.get(name, now) for name in files}
        self._since = {
            name: known[name] if name in known and known[name][0] == stamp else (stamp, now)
            for name, stamp in files.items()
        }

    def settled(self, now: float) -> dict[str, Stamp]:
        """Return the files that have been the same for long enough."""
        return {name: stamp for name, (stamp, since) in self._since.items() if now - since >= self._seconds}

    def unsettle(self, name: str, now: float) -> None:
        """Take notice of a file that is not whole, although it looked so."""
        self._since[name] = (self._since[name][0], now)

    def calm(self, now: float) -> bool:
        """Say whether all files are whole."""
        return len(self.settled(now)) == len(self._since)

    def age(self, names: Iterable[str], now: float) -> float:
        """Return for how long the first of these files has been in the folder; 0 where there is none."""
        return max((now - self._first[name] for name in names), default=0.0)

    def restless(self, seconds: float, now: float) -> set[str]:
        """Return the files that have been there for so long and are not whole yet."""
        return {name for name, first in self._first.items() if now - first >= seconds} - self.settled(now).keys()


def _entries(folder: Path) -> "Iterator[tuple[os.DirEntry[str], Stamp]]":
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:  # nothing was dropped yet, or the folder went between two looks
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
    except FileNotFoundError:  # it went meanwhile
        return None


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
