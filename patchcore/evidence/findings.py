"""The result of a verification: `Findings` while it runs, the frozen `Verification` when it is done."""

from dataclasses import dataclass, field

from patchcore.evidence.hash_chain import GENESIS

_PROBLEM_LIMIT = 100  # the count of problems that are listed one by one


@dataclass(frozen=True)
class Verification:
    """The result of verifying a ledger or an export.

    Attributes:
        ok: Whether no problem was found.
        records: The number of records.
        head: The hash of the last record, 64 hexadecimal digits: it identifies the state of all of them.
        root: The Merkle root over the hashes of all records, 64 hexadecimal digits.
        first_bad: The sequence of the first record with a problem; None if there is none.
        problems: One sentence per problem, at most a hundred from the records.
        notes: One sentence per thing that could not be checked.
        anchors: The number of anchors that the records were compared with.
        banks: The number of banks that were compared with their records; None if none was.
        checked: The number of records whose content was compared with its digest. It is less than ``records`` for the
            export of a batch and if archives are not available.
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


@dataclass
class Findings:
    """What a running verification has found so far.

    Attributes:
        size: The number of links read.
        head: The hash of the last link, 64 hexadecimal digits.
        root: The Merkle root over all hashes, 64 hexadecimal digits.
        first_bad: The lowest sequence with a problem.
        problems: One sentence per problem, at most a hundred from `note`.
        notes: One sentence per thing that could not be checked.
        checked: The number of records whose content and link were compared.
    """

    size: int = 0
    head: str = GENESIS.hex()
    root: str = ""
    first_bad: int | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checked: int = 0

    def note(self, sequence: int, text: str) -> None:
        """Add a problem of a record."""
        self.first_bad = sequence if self.first_bad is None else min(self.first_bad, sequence)
        if len(self.problems) < _PROBLEM_LIMIT:
            self.problems.append(f"record {sequence}: {text}")

    def result(self, *, anchors: int) -> Verification:
        """Return the result of the verification.

        Args:
            anchors: The number of anchors that the records were compared with.
        """
        return Verification(
            ok=not self.problems,
            records=self.size,
            head=self.head,
            root=self.root,
            first_bad=self.first_bad,
            problems=tuple(self.problems),
            notes=tuple(self.notes),
            anchors=anchors,
            checked=self.checked,
        )
