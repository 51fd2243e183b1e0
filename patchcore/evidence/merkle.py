"""Merkle trees over the hashes of records: RFC 6962 (Certificate Transparency), section 2.1, with SHA-256.

A root of 32 bytes commits to all records up to one moment. An audit path (section 2.1.1) of about log2(n) hashes shows
that one record is among them, without the others. A consistency proof (section 2.1.2) of about as many hashes shows
that an earlier tree holds the first leaves of a later one. Verification follows RFC 9162, sections 2.1.3.2 and 2.1.4.2.

A leaf's hash is SHA-256(0x00 + leaf), an inner node's SHA-256(0x01 + left + right).
"""

import hashlib
from collections.abc import Iterable, Sequence

EMPTY = hashlib.sha256(b"").digest()
"""The root of a tree without leaves: the sha256 of nothing."""


class Frontier:
    """A tree that grows leaf by leaf and keeps only the roots of its complete subtrees: about log2(n) hashes.

    Args:
        size: The number of leaves so far.
        peaks: The roots of the complete subtrees, the largest first: one for each set bit of ``size``.

    Raises:
        ValueError: The number of peaks differs from the number of set bits.

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
        while rest & 1:  # two complete subtrees of the same size become one
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
    """Return the root over leaves in order, 32 bytes: the Merkle Tree Hash of RFC 6962, section 2.1.

    Example:
        >>> root([]) == EMPTY
        True
    """
    frontier = Frontier()
    for leaf in leaves:
        frontier.add(leaf)
    return frontier.root()


class Tree:
    """A tree with all its nodes, for proofs. It takes about 64 bytes per leaf, plus Python's overhead.

    Args:
        leaves: The leaves in order.

    Example:
        >>> leaves = [b"a", b"b", b"c"]
        >>> tree = Tree(leaves)
        >>> root_from(b"c", 2, 3, tree.path(2)) == root(leaves)
        True
        >>> is_prefix(root(leaves[:2]), 2, root(leaves), 3, tree.consistency(2))
        True
    """

    def __init__(self, leaves: Iterable[bytes]) -> None:
        level = [_leaf(leaf) for leaf in leaves]
        self._size, self._levels = len(level), [level]
        while len(level) > 1:
            pairs = [_node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
            level = pairs + level[2 * len(pairs) :]  # the last node of an odd level moves up as it is
            self._levels.append(level)

    def path(self, number: int) -> list[bytes]:
        """Return the audit path of a leaf (RFC 6962, section 2.1.1), from the leaf upwards.

        Args:
            number: The number of the leaf, from 0.

        Raises:
            IndexError: There is no such leaf.
        """
        if not 0 <= number < self._size:
            raise IndexError(f"leaf {number} of a tree with {self._size} leaves")
        return self._upwards(0, number)

    def consistency(self, size: int) -> list[bytes]:
        """Return the proof that this tree extends the tree of its first leaves (RFC 6962, section 2.1.2).

        Args:
            size: The number of leaves of the smaller tree.

        Raises:
            IndexError: The size is less than 1 or more than that of this tree.
        """
        if not 1 <= size <= self._size:
            raise IndexError(f"the first {size} of {self._size} leaves")
        if size == self._size:
            return []
        # The last complete subtree of the smaller tree is also a node of this tree; all other nodes are on the way up.
        level, place = 0, size - 1
        while place & 1:
            level, place = level + 1, place >> 1
        own = (
            [self._levels[level][place]] if place else []
        )  # otherwise it is the whole smaller tree, whose root is known
        return own + self._upwards(level, place)

    def _upwards(self, level: int, place: int) -> list[bytes]:
        """Return the siblings of a node and of its ancestors, as far as they exist."""
        found = []
        for nodes in self._levels[level:]:
            if place ^ 1 < len(nodes):
                found.append(nodes[place ^ 1])
            place >>= 1
        return found


def is_prefix(first: bytes, first_size: int, second: bytes, second_size: int, proof: Sequence[bytes]) -> bool:
    """Return whether a proof shows that the larger tree extends the smaller one (RFC 9162, section 2.1.4.2).

    Args:
        first: The root of the smaller tree, 32 bytes.
        first_size: The number of its leaves, at least 1.
        second: The root of the larger tree, 32 bytes.
        second_size: The number of its leaves.
        proof: The consistency proof, as `Tree.consistency` returns it.
    """
    if first_size == second_size:
        return first == second and not proof
    if not 1 <= first_size < second_size:
        return False
    place, last = first_size - 1, second_size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    steps = iter(proof if place else [first, *proof])
    if (node := next(steps, None)) is None:
        return False
    smaller = larger = node
    for step in steps:
        if last == 0:
            return False
        if place & 1 or place == last:
            smaller, larger = _node(step, smaller), _node(step, larger)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            larger = _node(larger, step)
        place, last = place >> 1, last >> 1
    return last == 0 and smaller == first and larger == second


def root_from(leaf: bytes, number: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that a leaf and its audit path lead to (RFC 9162, section 2.1.3.2).

    Args:
        leaf: The leaf, as it was given to the tree.
        number: The number of the leaf, from 0.
        size: The number of leaves of the tree.
        path: The audit path, from the leaf upwards.

    Raises:
        ValueError: The path has another length than that of this leaf in a tree of this size.

    Example:
        >>> leaves = [b"a", b"b", b"c"]
        >>> root_from(b"c", 2, 3, Tree(leaves).path(2)) == root(leaves)
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
        raise ValueError(f"{len(path)} hashes are not a path of leaf {number} of {size}")
    return node


def _leaf(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
