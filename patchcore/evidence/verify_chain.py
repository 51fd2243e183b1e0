"""Verifying a chain of records from its first to its last, wherever they are: in a database or in exported files."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from patchcore.evidence.hash_chain import CHECKPOINT_EVERY, GENESIS, link_hash
from patchcore.evidence.merkle import Frontier
from patchcore.evidence.signing import checkpoint_text, is_signed

CHECKPOINTS = "checkpoints"
_MOST_PROBLEMS = 100  # that are told one by one


class Records(Protocol):
    """Where records are stored."""

    @property
    def kinds(self) -> Collection[str]:
        """The kinds of records that there may be."""
        ...

    def links(self) -> Iterator[tuple[int, str, bytes, bytes, bytes]]:
        """Yield every link by its sequence; see `patchcore.evidence.hash_chain.Link`."""
        ...

    def contents(self, kind: str) -> Iterator[tuple[int, bytes]]:
        """Yield sequence and content digest, 32 bytes, of every record of a kind, by their sequences."""
        ...

    def checkpoints(self) -> Mapping[int, Mapping[str, Any]]:
        """Return the values of each checkpoint by its sequence."""
        ...

    def archived(self) -> Sequence["Archived"]:
        """Return which records were moved elsewhere."""
        ...


@dataclass(frozen=True)
class Archived:
    """Records that were moved into an archive, as its own record says: so many of a kind, from a first to a last."""

    sequence: int
    name: str
    kind: str
    first: int
    last: int
    count: int


@dataclass(frozen=True)
class Anchor:
    """What somebody wrote down outside the ledger: where, and what names the first so many records.

    ``head`` is the hash of the last of them, ``root`` the Merkle root over the hashes of all: 64 hexadecimal digits.
    """

    where: str
    size: int
    head: str
    root: str


@dataclass
class Walk:
    """What a walk found.

    Attributes:
        size: links seen.
        head: the hash of the last, 64 hexadecimal digits.
        root: the Merkle root over all hashes, 64 hexadecimal digits.
        first_bad: the lowest sequence that something is wrong with.
        problems: what is wrong, in words, the first one first; at most a hundred.
        notes: what could not be checked, or should be known besides, in words.
        checked: records of which content and link were compared.
    """

    size: int = 0
    head: str = GENESIS.hex()
    root: str = ""
    first_bad: int | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checked: int = 0

    def note(self, sequence: int, text: str) -> None:
        """Write down that something is wrong with a record."""
        self.first_bad = sequence if self.first_bad is None else min(self.first_bad, sequence)
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(f"record {sequence}: {text}")


def walk(
    records: Records,
    anchors: Iterable[Anchor] = (),
    trusted: Collection[str] = (),
    *,
    without_archives: bool = False,
) -> Walk:
    """Verify every link, every content, every checkpoint, and that the chain is the one that anchors name.

    Args:
        records: Where they are.
        anchors: What was written down of the chain elsewhere.
        trusted: Public keys, 64 hexadecimal digits each: from the first signed checkpoint on every one must be signed
            by one of them, there must be one, and fewer than `CHECKPOINT_EVERY` records may have come since those that
            the last one names. None: a signature must be that of the key that the checkpoint names.
        without_archives: Contents that lie in an archive may be missing; else that is a problem.
    """
    anchors = list(anchors)
    found, frontier, bodies = Walk(), Frontier(), _Bodies(records)
    checkpoints, anchored = _Checkpoints(records.checkpoints(), trusted), {anchor.size: ("", "") for anchor in anchors}
    anchored[0] = (GENESIS.hex(), frontier.root().hex())  # a ledger may be anchored before its first record
    expected, last = 1, GENESIS
    for sequence, kind, content, previous, value in records.links():
        if sequence != expected:
            missing = f"is missing, as are all up to {sequence - 1}" if sequence > expected + 1 else "is missing"
            found.note(min(expected, sequence), missing if sequence > expected else "is out of order, or there twice")
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


class _Bodies:
    """The contents of all kinds, read beside the links."""

    def __init__(self, records: Records) -> None:
        self._streams = {kind: records.contents(kind) for kind in records.kinds}
        self._next = {kind: next(stream, None) for kind, stream in self._streams.items()}
        self._archived = {archived: [0, 0, 0] for archived in records.archived()}
        self.unseen = 0

    def check(self, found: Walk, sequence: int, kind: str, content: bytes) -> None:
        """Compare the content that a link names with the one that is there."""
        if kind not in self._streams:
            found.note(sequence, f"is of a kind that nobody knows: {kind!r}")
            return
        body = self._next[kind]
        while body is not None and body[0] < sequence:
            found.note(body[0], f"stands in {kind}, and the chain knows nothing of it")
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
        """Count a record for the archive that it belongs to, and return whether there is one."""
        for archived, counts in self._archived.items():
            if archived.kind == kind and archived.first <= sequence <= archived.last:
                counts[0] += 1
                if missing:
                    counts[1] += 1
                    counts[2] = counts[2] or sequence
                    self.unseen += 1
                return True
        return False

    def finish(self, found: Walk, *, without_archives: bool) -> None:
        """Tell of contents after the last link, and of archives."""
        for archived, (links, missing, first) in self._archived.items():
            if links != archived.count:
                words = (
                    f"archive {archived.name!r} is said to hold {archived.count} records, the chain has {links} there"
                )
                found.note(archived.sequence, words)
            if missing:
                words = f"{missing} records lie in archive {archived.name!r}, which is not here: they were not checked"
                found.notes.append(words) if without_archives else found.note(first, words)
        for kind, stream in self._streams.items():
            body = self._next[kind]
            while body is not None:
                found.note(body[0], f"stands in {kind}, and the chain knows nothing of it")
                body = next(stream, None)


class _Checkpoints:
    """The checkpoints of a chain as the walk comes to them, and how much the trusted keys vouch for."""

    def __init__(self, stored: Mapping[int, Mapping[str, Any]], trusted: Collection[str]) -> None:
        self._stored, self._trusted = stored, trusted
        self._vouched: int | None = None  # records that the last one names that a trusted key signed
        self._faulty = False

    def check(self, found: Walk, sequence: int, frontier: Frontier, head: bytes) -> None:
        """Compare a checkpoint with the records before it, and its signature with the keys that are trusted."""
        if (values := self._stored.get(sequence)) is None:
            return
        problems = [*_other_records(values, frontier, head), *self._unsigned(values)]
        for problem in problems:
            found.note(sequence, problem)
        if problems:
            self._faulty = True
        elif _signature(values) is not None:
            self._vouched = frontier.size

    def _unsigned(self, values: Mapping[str, Any]) -> Iterator[str]:
        if (signed := _signature(values)) is None:
            # Signing may begin late: the first that is signed vouches for all records before it, too.
            if self._trusted and self._vouched is not None:
                yield "the checkpoint is not signed"
            return
        text = checkpoint_text(size=values["size"], head=values["head"], root=values["root"], at=values["at"])
        if not is_signed(text, *signed):
            yield "the signature of the checkpoint is not that of its key"
        elif self._trusted and signed[0] not in self._trusted:
            yield f"the checkpoint is signed by a key that is not trusted: {signed[0]!r}"

    def finish(self, found: Walk, size: int) -> None:
        """Tell of the records that no trusted key vouches for."""
        if not self._trusted:
            return
        if self._vouched is None:
            if not self._faulty:
                found.note(1, "no checkpoint that is signed names it, and so no trusted key vouches for anything")
        elif size - self._vouched >= CHECKPOINT_EVERY:
            # Every commit keeps the gap below that: whoever has no key took out the checkpoints in between.
            words = f"and all up to {size} came after the last checkpoint that a trusted key signed"
            found.note(self._vouched + 2, f"{words}: one is due every {CHECKPOINT_EVERY} records, and is missing")
        elif after := size - self._vouched - 1:
            words = f"{after} records came after the last checkpoint that a trusted key signed: none vouches for them"
            found.notes.append(words)


def _signature(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key and the signature of a checkpoint; None where it is not signed."""
    key, signature = values["key"], values["signature"]
    return None if key is None or signature is None else (key, signature)


def _other_records(values: Mapping[str, Any], frontier: Frontier, head: bytes) -> Iterator[str]:
    if values["size"] != frontier.size or values["head"] != head.hex() or values["root"] != frontier.root().hex():
        yield f"the checkpoint does not name the {frontier.size} records before it"


def is_link(previous: bytes, sequence: int, kind: str, content: bytes, value: bytes) -> bool:
    """Return whether a hash is that of a link; of values that no link can have, it is not."""
    try:
        return link_hash(previous, sequence, kind, content) == value
    except (OverflowError, TypeError, UnicodeEncodeError):
        return False


def _check_anchors(found: Walk, anchors: Sequence[Anchor], names: Mapping[int, tuple[str, str]], size: int) -> None:
    """Compare the hash and the root that the walk came to with those of each anchor."""
    agreed = max((anchor.size for anchor in anchors if names[anchor.size] == (anchor.head, anchor.root)), default=0)
    for anchor in sorted(anchors, key=lambda anchor: anchor.size):
        if anchor.size > size:
            found.note(size + 1, f"and all up to {anchor.size} are missing: {anchor.where} names {anchor.size} records")
        elif names[anchor.size] != (anchor.head, anchor.root):
            what = "hash for" if names[anchor.size][0] != anchor.head else "root up to"
            words = f"{anchor.where} names another {what} record {anchor.size}"
            # Where a record before it is known to be bad, that is why; else all hashes were made right again.
            if found.first_bad is not None and found.first_bad <= anchor.size:
                found.problems.append(words)
            else:
                start = agreed + 1 if agreed < anchor.size else 1
                found.note(start, f"or one after it up to {anchor.size} was written anew: {words}")
