"""The hash chain that records hang in: each link names the record's content and the link before, so none can change.

A chain is verified with this module alone: bytes in, bytes out. Its text form:
docs/reference/ledger-format.md.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

GENESIS = bytes(32)
"""What the first link names as the one before it."""

CHECKPOINT_EVERY = 4096
"""Records: a checkpoint is made when so many have come since those that the last one names."""

_DOMAIN = b"patchcore ledger record 1\n"  # no hash of another kind of thing is ever a link's


@dataclass(frozen=True, slots=True)
class Link:
    """The place of one record in the chain.

    Attributes:
        sequence: Its number, from 1, without gaps.
        kind: What kind of record it is.
        content: sha256 of the record's content, 32 bytes.
        previous: The hash of the link before, 32 bytes; `GENESIS` for the first.
        hash: Of all the above, 32 bytes.
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
        sequence: The number of the record.
        kind: What kind of record it is.
        content: sha256 of its content, 32 bytes, as `digest` gives it.

    Example:
        >>> first = link(GENESIS, 1, "event", digest({"action": "opened"}))
        >>> second = link(first.hash, 2, "event", digest({"action": "closed"}))
        >>> second.previous == first.hash
        True
    """
    return Link(sequence, kind, content, previous, link_hash(previous, sequence, kind, content))


def link_hash(previous: bytes, sequence: int, kind: str, content: bytes) -> bytes:
    """Return the hash of a link, 32 bytes: sha256 of a prefix, the link before, the number, the content, the kind."""
    return hashlib.sha256(_DOMAIN + previous + sequence.to_bytes(8, "big") + content + kind.encode()).digest()


def digest(values: Mapping[str, object]) -> bytes:
    """Return the sha256 of a record's content, 32 bytes.

    The content is JSON in UTF-8: keys sorted, no spaces, numbers as Python writes them (a float with the fewest digits
    that read back to the same 64 bits), and fields without a value left out, so that a later version may add fields.

    Args:
        values: Text, integers, floats and None by name: what stands in the database.

    Raises:
        ValueError: A float is not finite.

    Example:
        >>> digest({"b": 0.1, "a": "x", "c": None}) == hashlib.sha256(b'{"a":"x","b":0.1}').digest()
        True
    """
    names = sorted(values)
    return digest_of_sorted(names, [values[name] for name in names])


def digest_of_sorted(names: Sequence[str], values: Sequence[object]) -> bytes:
    """Return what `digest` does, of values whose names are sorted: for millions of records this is the quicker way."""
    present = {name: value for name, value in zip(names, values, strict=True) if value is not None}
    return hashlib.sha256(_encode(present).encode()).digest()


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
