r"""The hash chain over the records of a ledger.

Each link holds the digest of a record's content and the hash of the link before it. Changing, removing or inserting a
record changes the hash of every later link. All functions take and return bytes:

    content = SHA-256(JSON of the record)
    hash    = SHA-256("patchcore ledger record 1\n" + previous + sequence (8 bytes, big-endian) + content + kind)
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

GENESIS = bytes(32)
"""The previous hash of the first link: 32 zero bytes."""

CHECKPOINT_EVERY = 4096
"""The number of records after which a new checkpoint is due."""

_DOMAIN = b"patchcore ledger record 1\n"  # separates these hashes from all others (domain separation)


@dataclass(frozen=True, slots=True)
class Link:
    """The place of one record in the chain.

    Attributes:
        sequence: The number of the record, from 1, without gaps.
        kind: The kind of record.
        content: The sha256 of the record's content, 32 bytes.
        previous: The hash of the link before, 32 bytes; `GENESIS` for the first link.
        hash: The sha256 of all the above, 32 bytes; see `link_hash`.
    """

    sequence: int
    kind: str
    content: bytes
    previous: bytes
    hash: bytes


def link(previous: bytes, sequence: int, kind: str, content: bytes) -> Link:
    """Return the link of a record.

    Args:
        previous: The hash of the link before, 32 bytes.
        sequence: The number of the record, from 1.
        kind: The kind of record.
        content: The sha256 of its content, 32 bytes, as `digest` returns it.

    Example:
        >>> first = link(GENESIS, 1, "event", digest({"action": "opened"}))
        >>> second = link(first.hash, 2, "event", digest({"action": "closed"}))
        >>> second.previous == first.hash
        True
    """
    return Link(sequence, kind, content, previous, link_hash(previous, sequence, kind, content))


def link_hash(previous: bytes, sequence: int, kind: str, content: bytes) -> bytes:
    """Return the hash of a link, 32 bytes; the formula is at the top of this module."""
    return hashlib.sha256(_DOMAIN + previous + sequence.to_bytes(8, "big") + content + kind.encode()).digest()


def digest(values: Mapping[str, object]) -> bytes:
    """Return the sha256 of a record's content, 32 bytes.

    The content is JSON in UTF-8: keys sorted, no spaces, numbers as Python writes them (a float with the fewest digits
    that read back to the same 64 bits), fields without a value left out. So a later version may add fields.

    Args:
        values: The values in the database by column name: text, integers, floats, None.

    Raises:
        ValueError: A float is not finite.

    Example:
        >>> digest({"b": 0.1, "a": "x", "c": None}) == hashlib.sha256(b'{"a":"x","b":0.1}').digest()
        True
    """
    names = sorted(values)
    return digest_of_sorted(names, [values[name] for name in names])


def digest_of_sorted(names: Sequence[str], values: Sequence[object]) -> bytes:
    """Return the same as `digest` for names that are sorted already; it is faster for millions of records.

    Raises:
        ValueError: A float is not finite, or the numbers of names and values differ.
    """
    present = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    return hashlib.sha256(_encode(present).encode()).digest()


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
