"""What the ledger says about itself: checkpoints, archives, and the result of a verification."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Checkpoint:
    """What names all records up to one: their number, the hash of the last, the Merkle root over the hashes of all.

    ``key`` and ``signature`` are those of `patchcore.evidence.signing`, None where no key was at hand.
    """

    sequence: int
    size: int
    head: str
    root: str
    key: str | None
    signature: str | None
    at: str


@dataclass(frozen=True)
class Archive:
    """A file that holds images which the ledger no longer does: those with a sequence from ``first`` to ``last``."""

    sequence: int
    first: int
    last: int
    images: int
    name: str
    sha256: str
    who: str
    at: str


@dataclass(frozen=True)
class Verification:
    """What ``verify`` found.

    Attributes:
        ok: whether nothing is wrong.
        records: how many there are.
        head: the hash of the last one, which names the state of them all.
        root: the Merkle root over the hashes of all.
        first_bad: the sequence of the first record that is not what was written; None where there is none.
        problems: what is wrong, in words.
        notes: what could not be checked, in words.
        anchors: with how many anchors the records were compared.
        banks: how many banks were compared with their records; None where none was asked for.
        checked: how many records were compared with their digests; fewer than there are for a part of a ledger.
    """

    ok: bool
    records: int
    head: str
    root: str
    first_bad: int | None
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()
    anchors: int = 0
    banks: int | None = None
    checked: int = 0
