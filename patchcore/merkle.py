"""Merkle trees over the hashes of records, as in RFC 6962 (Certificate Transparency), section 2.1.

A root names every record of a ledger up to one moment in 32 bytes. With a path of about log2(n) hashes anybody can
check that one record is among them, without seeing the others.
"""

import hashlib
from collections.abc import Iterable, Sequence

EMPTY = hashlib.sha256(b"").digest()
"""The root of no leaves."""


class Frontier:
    """A tree that grows leaf by leaf, of which only the roots of its complete subtrees are kept.

    Args:
        size: Number of leaves so far.
        peaks: The roots of the complete subtrees, the largest first: one for each bit of `size` that is set.

    Raises:
        ValueError: There are not as many peaks as the size has bits.

    Example:
        >>> frontier = Frontier()
        >>> for leaf in (b"a", b"b", b"c"):
        ...     frontier.add(leaf)
        >>> frontier.size, frontier.root() == root([b"a", b"b", b"c"])
        (3, True)
    """

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size, self.peaks = size, list(peaks)
        if len(self.peaks) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(self.peaks)}")

    def add(self, leaf: bytes) -> None:
        """Add a leaf after the last one."""
        node, rest = _leaf(leaf), self.size
        while rest & 1:  # complete subtrees of the same size become one
            node, rest = _node(self.peaks.pop(), node), rest >> 1
        self.peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over all leaves, 32 bytes."""
        if not self.peaks:
            return EMPTY
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = _node(peak, node)
        return node


def root(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaves in their order, 32 bytes (RFC 6962, 2.1: MTH)."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.add(leaf)
    return frontier.root()


def paths(leaves: Sequence[bytes], numbers: Iterable[int]) -> dict[int, list[bytes]]:
    """Return the audit path of some leaves (RFC 6962, 2.1.1), by the leaf's number from 0: from the leaf upwards.

    Raises:
        IndexError: There is no such leaf.
    """
    found: dict[int, list[bytes]] = {number: [] for number in numbers}
    if found and not (min(found) >= 0 and max(found) < len(leaves)):
        raise IndexError(f"of {len(leaves)} leaves there is none numbered {max(found)}")
    level, places = [_leaf(leaf) for leaf in leaves], {number: number for number in found}
    while len(level) > 1:
        for number, place in places.items():
            if place ^ 1 < len(level):  # the last node of an odd level has no sibling and moves up as it is
                found[number].append(level[place ^ 1])
            places[number] = place >> 1
        pairs = [_node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[2 * len(pairs) :]
    return found


def root_from(leaf: bytes, number: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that a leaf and its audit path lead to (RFC 9162, 2.1.3.2).

    Args:
        leaf: The leaf, as it was given to the tree.
        number: Its number, from 0.
        size: Leaves of the tree.
        path: Its audit path, from the leaf upwards.

    Raises:
        ValueError: The path is not as long as one of this leaf in such a tree.

    Example:
        >>> leaves = [b"a", b"b", b"c"]
        >>> root_from(b"c", 2, 3, paths(leaves, [2])[2]) == root(leaves)
        True
    """
    node, place, last = _leaf(leaf), number, size - 1
    steps = iter(path)
    try:
        while last > 0:
            if place & 1:
                node = _node(next(steps), node)
            elif place < last:
                node = _node(node, next(steps))
            place, last = place >> 1, last >> 1
    except StopIteration:
        raise ValueError(f"the path of leaf {number} of {size} is too short: {len(path)} hashes") from None
    if not 0 <= number < size or next(steps, None) is not None:
        raise ValueError(f"{len(path)} hashes are no path of leaf {number} of {size}")
    return node


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
