"""Anchors: one line of JSON that names the state of a ledger and is kept where the ledger's owner cannot change it.

An anchor covers the first ``size`` records: ``head`` is the hash of the last of them, ``root`` the Merkle root over the
hashes of all. A ledger that was cut short or rewritten contradicts its anchors, even if every hash in it was computed
again.

Example:
    >>> line = '{"size": 2, "head": "' + "ab" * 32 + '", "root": "' + "cd" * 32 + '"}'
    >>> parse_anchor("newspaper.json", line).size
    2
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from patchcore.errors import InvalidAnchor

_SIZE_LIMIT = 2**63  # sequences are 64-bit integers

Entry = tuple[str, str | None]
"""The name of a place and the text there; None if the place holds something that is not text."""


@dataclass(frozen=True)
class Anchor:
    """The state of a ledger at one moment, as it was written down outside the ledger.

    Attributes:
        where: The place where the anchor is kept, for messages.
        size: The number of records that the anchor covers.
        head: The hash of the last of these records, 64 hexadecimal digits.
        root: The Merkle root over the hashes of these records, 64 hexadecimal digits.
    """

    where: str
    size: int
    head: str
    root: str


@dataclass
class AnchorsRead:
    """What was read in places where anchors are kept.

    Attributes:
        anchors: The anchors.
        notes: Entries that are not anchors, one sentence each.
        problems: Places that could not be read, one sentence each.
    """

    anchors: list[Anchor] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, entries: Iterable[Entry]) -> None:
        """Parse the entries of a place: each becomes an anchor or a note."""
        for where, text in entries:
            try:
                self.anchors.append(parse_anchor(where, text))
            except InvalidAnchor as error:
                self.notes.append(str(error))


def parse_anchor(where: str, text: str | None) -> Anchor:
    """Return the anchor that a text holds.

    Args:
        where: The place of the text, for messages.
        text: JSON with ``size``, ``head`` and ``root``; other keys are ignored.

    Raises:
        InvalidAnchor: The text is not such JSON.
    """
    try:
        values = json.loads(text or "")
        size, head, root = values["size"], values["head"], values["root"]
        if type(size) is not int or not 0 <= size < _SIZE_LIMIT or not (_is_hash(head) and _is_hash(root)):
            raise ValueError("not the size and the hashes of a ledger")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidAnchor(
            f"anchor in {where}",
            got="no text" if text is None else f"{text[:80]!r}",
            expected="JSON with size, head and root",
            remedy="this text is not an anchor of this library: find out who wrote it",
        ) from error
    return Anchor(where, size, head.lower(), root.lower())


def read_anchors(path: Path) -> AnchorsRead:
    """Return the anchors in a file (one per line) or a folder (one per ``*.json`` file).

    Raises:
        InvalidAnchor: The path cannot be read or holds no anchor.
    """
    found, expected = AnchorsRead(), "lines of JSON with size, head and root"
    try:
        found.add(anchor_entries(path))
    except OSError as error:
        raise InvalidAnchor(f"anchors in {path}", got=str(error), expected=expected, remedy="check the path") from error
    if not found.anchors:
        got = found.notes[0] if found.notes else "none"
        raise InvalidAnchor(f"anchors in {path}", got=got, expected=expected, remedy="check the path")
    return found


def anchor_entries(path: Path) -> Iterator[Entry]:
    """Yield the entries of a file or a folder; lines that a crash left incomplete are skipped."""
    if path.is_dir():
        for file in sorted(path.glob("*.json")):
            yield str(file), file.read_text("utf-8", errors="replace")
        return
    lines = path.read_text("utf-8", errors="replace").split("\n") if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        incomplete = text.startswith("{") and not text.endswith("}")
        if text and not incomplete:
            yield f"{path}, line {number}", text


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{64}", value) is not None
