"""Verifying a chain of records from the first to the last, whether they are in a database or in exported files."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from patchcore.evidence.anchors import Anchor
from patchcore.evidence.findings import Findings
from patchcore.evidence.hash_chain import GENESIS, link_hash
from patchcore.evidence.merkle import Frontier
from patchcore.evidence.verify_checkpoints import CheckpointCheck

CHECKPOINTS = "checkpoints"
"""The kind of the records that name all records before them."""


class Records(Protocol):
    """A place where records are stored. Every method reads in the order of the sequences."""

    @property
    def kinds(self) -> Collection[str]:
        """The kinds of records."""
        ...

    def links(self) -> Iterator[tuple[int, str, bytes, bytes, bytes]]:
        """Yield sequence, kind, content, previous and hash of every link; see `patchcore.evidence.hash_chain.Link`."""
        ...

    def contents(self, kind: str) -> Iterator[tuple[int, bytes]]:
        """Yield sequence and content digest (32 bytes) of every record of a kind."""
        ...

    def checkpoints(self) -> Mapping[int, Mapping[str, Any]]:
        """Return the values of each checkpoint by its sequence."""
        ...

    def archived(self) -> Sequence["Archived"]:
        """Return the records that were moved to archives."""
        ...


@dataclass(frozen=True)
class Archived:
    """Records that were moved to an archive, as the record of the archive says.

    Attributes:
        sequence: The sequence of the archive's own record.
        name: The name of the archive.
        kind: The kind of the moved records.
        first: The sequence of the first moved record.
        last: The sequence of the last moved record.
        count: The number of moved records.
    """

    sequence: int
    name: str
    kind: str
    first: int
    last: int
    count: int


def walk(
    records: Records,
    anchors: Iterable[Anchor] = (),
    trusted: Collection[str] = (),
    *,
    without_archives: bool = False,
) -> Findings:
    """Verify every link, content and checkpoint, and compare the chain with its anchors.

    Args:
        records: The records.
        anchors: The anchors of the chain.
        trusted: Public keys, 64 hexadecimal digits each. One of them must have signed a checkpoint and every later
            checkpoint, and fewer than `patchcore.evidence.hash_chain.CHECKPOINT_EVERY` records may follow the records
            that the last one names. Empty: each signature must match the key that its checkpoint names.
        without_archives: Whether contents in archives may be missing; if not, a missing one is a problem.
    """
    anchors = list(anchors)
    found, frontier, bodies = Findings(), Frontier(), _ContentCheck(records)
    checkpoints = CheckpointCheck(records.checkpoints(), trusted)
    anchored = {anchor.size: ("", "") for anchor in anchors}
    anchored[0] = (GENESIS.hex(), frontier.root().hex())  # a ledger may be anchored before its first record
    expected, last = 1, GENESIS
    for sequence, kind, content, previous, value in records.links():
        if sequence != expected:
            missing = f"is missing, and so are all up to {sequence - 1}" if sequence > expected + 1 else "is missing"
            found.note(min(expected, sequence), missing if sequence > expected else "is out of order or occurs twice")
        elif previous != last:
            found.note(sequence, "does not hold the hash of the record before it")
        if not is_link(previous, sequence, kind, content, value):
            found.note(sequence, "its link in the chain was altered")
        bodies.check(found, sequence, kind, content)
        if kind == CHECKPOINTS:
            checkpoints.check(found, sequence, frontier, last)
        frontier.add(value)
        if sequence in anchored:
            anchored[sequence] = (value.hex(), frontier.root().hex())
        last, expected = value, sequence + 1
    bodies.finish(found, without_archives=without_archives)
    checkpoints.finish(found, frontier.size)
    found.checked = frontier.size - bodies.unseen
    found.size, found.head, found.root = frontier.size, last.hex(), frontier.root().hex()
    _check_anchors(found, anchors, anchored, expected - 1)
    return found


class _ContentCheck:
    """Compares the contents of all kinds with the links, in one pass over both."""

    def __init__(self, records: Records) -> None:
        self._streams = {kind: records.contents(kind) for kind in records.kinds}
        self._next = {kind: next(stream, None) for kind, stream in self._streams.items()}
        self._archived = {archived: [0, 0, 0] for archived in records.archived()}
        self.unseen = 0

    def check(self, found: Findings, sequence: int, kind: str, content: bytes) -> None:
        """Compare the content digest in a link with that of the stored content."""
        if kind not in self._streams:
            found.note(sequence, f"has the unknown kind {kind!r}")
            return
        body = self._next[kind]
        while body is not None and body[0] < sequence:
            found.note(body[0], f"is in {kind} but has no link in the chain")
            body = next(self._streams[kind], None)
        if body is not None and body[0] == sequence:
            if body[1] != content:
                found.note(sequence, f"its content in {kind} was altered")
            body = next(self._streams[kind], None)
            self._count(kind, sequence)
        elif not self._count(kind, sequence, missing=True):
            found.note(sequence, f"is missing from {kind}")
        self._next[kind] = body

    def _count(self, kind: str, sequence: int, *, missing: bool = False) -> bool:
        """Count a record for its archive; return whether it belongs to one."""
        for archived, counts in self._archived.items():
            if archived.kind == kind and archived.first <= sequence <= archived.last:
                counts[0] += 1
                if missing:
                    counts[1] += 1
                    counts[2] = counts[2] or sequence
                    self.unseen += 1
                return True
        return False

    def finish(self, found: Findings, *, without_archives: bool) -> None:
        """Report contents after the last link, and records in archives that are not available."""
        for archived, (links, missing, first) in self._archived.items():
            if links != archived.count:
                words = (
                    f"archive {archived.name!r} should hold {archived.count} records, but the chain has {links} there"
                )
                found.note(archived.sequence, words)
            if missing:
                words = f"{missing} records are in archive {archived.name!r}, which is not here: they were not checked"
                found.notes.append(words) if without_archives else found.note(first, words)
        for kind, stream in self._streams.items():
            body = self._next[kind]
            while body is not None:
                found.note(body[0], f"is in {kind} but has no link in the chain")
                body = next(stream, None)


def is_link(previous: bytes, sequence: int, kind: str, content: bytes, value: bytes) -> bool:
    """Return whether a hash is that of a link with these values; False for values that no link can have."""
    try:
        return link_hash(previous, sequence, kind, content) == value
    except (OverflowError, TypeError, UnicodeEncodeError):
        return False


def _check_anchors(found: Findings, anchors: Sequence[Anchor], names: Mapping[int, tuple[str, str]], size: int) -> None:
    """Compare the hash and the root at each anchor's size with those of the anchor."""
    agreed = max((anchor.size for anchor in anchors if names[anchor.size] == (anchor.head, anchor.root)), default=0)
    for anchor in sorted(anchors, key=lambda anchor: anchor.size):
        if anchor.size > size:
            found.note(
                size + 1, f"and all up to {anchor.size} are missing: {anchor.where} covers {anchor.size} records"
            )
        elif names[anchor.size] != (anchor.head, anchor.root):
            what = "hash for" if names[anchor.size][0] != anchor.head else "root up to"
            words = f"{anchor.where} names another {what} record {anchor.size}"
            # A bad record before the anchor explains the difference; without one, all hashes were computed again.
            if found.first_bad is not None and found.first_bad <= anchor.size:
                found.problems.append(words)
            else:
                start = agreed + 1 if agreed < anchor.size else 1
                found.note(start, f"or a later one up to {anchor.size} was rewritten: {words}")
