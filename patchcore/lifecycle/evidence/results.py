"""The results of `patchcore audit verify, export, archive, anchor` and `patchcore migrate`."""

from collections.abc import Mapping
from dataclasses import asdict

from patchcore._util.model import Model
from patchcore.adapters.ledger.evidence_records import Archive, Checkpoint
from patchcore.evidence.findings import Verification
from patchcore.lifecycle.anchor_result import AnchorResult


class VerificationResult(Model):
    """The result of `patchcore audit verify`.

    Attributes:
        ok: Whether no problem was found.
        records: The number of records.
        head: The hash of the last record.
        root: The Merkle root over the hashes of all records.
        first_bad: The sequence of the first record with a problem; None if there is none.
        problems: One sentence per problem.
        notes: One sentence per thing that could not be checked.
        anchors: The number of anchors that the records were compared with.
        banks: The number of banks that were compared with their records; None if none was.
        checked: The number of records whose content was compared with its digest.
    """

    ok: bool
    records: int
    head: str
    root: str
    first_bad: int | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    anchors: int
    banks: int | None
    checked: int

    @classmethod
    def of(cls, found: Verification, *, notes: tuple[str, ...] = ()) -> "VerificationResult":
        """Return a verification as the result of the command, with more notes."""
        return cls(**{**asdict(found), "notes": (*found.notes, *notes)})


class ExportResult(Model):
    """The result of `patchcore audit export`.

    Attributes:
        folder: The folder that was written.
        complete: Whether it holds the whole ledger; False for a batch.
        checkpoint: The checkpoint that covers the exported records.
        records: The number of records by kind.
        files: The sha256 of each file by its name.
    """

    folder: str
    complete: bool
    checkpoint: Checkpoint
    records: Mapping[str, int]
    files: Mapping[str, str]


class ArchiveResult(Model):
    """The result of `patchcore audit archive`.

    Attributes:
        archived: The record of the archive; None if there was nothing to move.
        anchored: The anchor that was written after the move.
    """

    archived: Archive | None
    anchored: AnchorResult


class AnchoredResult(Model):
    """The result of `patchcore audit anchor`: the checkpoint that the anchor names, and where it was written.

    Attributes:
        sequence: The sequence of the checkpoint's record.
        size: The number of records that it covers.
        head: The hash of the last of them.
        root: The Merkle root over their hashes.
        key: The public key that signed it; None if it is not signed.
        signature: The signature; None if it is not signed.
        at: The time of the checkpoint.
        places: The places that have the anchor now.
        failures: The places that could not be written, each with the reason.
    """

    sequence: int
    size: int
    head: str
    root: str
    key: str | None
    signature: str | None
    at: str
    places: tuple[str, ...]
    failures: tuple[str, ...]
