"""Records about the ledger itself: checkpoints and archives."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Checkpoint:
    """A record that covers all records before it.

    Attributes:
        sequence: The sequence of the checkpoint's own record.
        size: The number of records that it covers.
        head: The hash of the last of them, 64 hexadecimal digits.
        root: The Merkle root over their hashes, 64 hexadecimal digits.
        key: The public key that signed it, 64 hexadecimal digits; None if it is not signed.
        signature: The Ed25519 signature, 128 hexadecimal digits; None if it is not signed.
        at: The time of the checkpoint, in UTC.
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
    """A record of images that were moved from the ledger to a file.

    Attributes:
        sequence: The sequence of this record.
        first: The sequence of the first image that was moved.
        last: The sequence of the last image that was moved.
        images: The number of images that were moved.
        name: The name of the archive's folder.
        sha256: The digest of the file.
        who: The user who moved them.
        at: The time of the move, in UTC.
    """

    sequence: int
    first: int
    last: int
    images: int
    name: str
    sha256: str
    who: str
    at: str
