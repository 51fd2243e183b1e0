"""The chain and the Merkle tree: their bytes, as an auditor computes them from the documents, and what changes them."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from patchcore.evidence import merkle
from patchcore.evidence.anchors import Anchor
from patchcore.evidence.hash_chain import CHECKPOINT_EVERY, GENESIS, digest, link
from patchcore.evidence.signing import Signer, checkpoint_text
from patchcore.evidence.verify_chain import walk


def test_a_content_is_the_sha256_of_sorted_json_without_spaces_and_without_empty_fields() -> None:
    values = {"score": 0.1 + 0.2, "path": "é\n.png", "anomalous": 0, "reason": None}
    text = '{"anomalous":0,"path":"é\\n.png","score":0.30000000000000004}'
    assert digest(values) == hashlib.sha256(text.encode()).digest()
    assert json.loads(text)["score"] == 0.1 + 0.2
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"score": float("nan")})


def test_a_link_is_the_sha256_of_its_prefix_the_link_before_its_number_its_content_and_its_kind() -> None:
    content = digest({"a": 1})
    expected = hashlib.sha256(
        b"patchcore ledger record 1\n" + GENESIS + (1).to_bytes(8, "big") + content + b"events"
    ).digest()
    assert link(GENESIS, 1, "events", content).hash == expected


def _tree_head(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + _tree_head(leaves[:k]) + _tree_head(leaves[k:])).digest()


@pytest.mark.parametrize("size", [*range(18), 63, 64, 65])
def test_roots_and_paths_are_those_of_rfc_6962(size: int) -> None:
    leaves = [bytes([number]) * 32 for number in range(size)]
    head = _tree_head(leaves)
    assert merkle.root(leaves) == head
    frontier = merkle.Frontier()
    for leaf in leaves[: size // 2]:
        frontier.add(leaf)
    grown = merkle.Frontier(frontier.size, frontier.peaks)
    for leaf in leaves[size // 2 :]:
        grown.add(leaf)
    assert grown.root() == head
    tree = merkle.Tree(leaves)
    for number in range(size):
        path = tree.path(number)
        assert merkle.root_from(leaves[number], number, size, path) == head
        assert merkle.root_from(b"another", number, size, path) != head
        with pytest.raises(ValueError, match=r"path"):
            merkle.root_from(leaves[number], number, size, [*path, head])
        if path:
            with pytest.raises(ValueError, match="too short"):
                merkle.root_from(leaves[number], number, size, path[:-1])


def test_what_cannot_be_a_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="2 peaks"):
        merkle.Frontier(3, [GENESIS])
    with pytest.raises(IndexError, match="leaf 3 of a tree with 2 leaves"):
        merkle.Tree([b"a", b"b"]).path(3)
    for first in (0, 3):
        with pytest.raises(IndexError, match=f"the first {first} of"):
            merkle.Tree([b"a", b"b"]).consistency(first)


@pytest.mark.parametrize("size", [*range(1, 18), 63, 64, 65])
def test_proofs_of_consistency_are_those_of_rfc_6962_and_show_nothing_else(size: int) -> None:
    leaves = [bytes([number]) * 32 for number in range(size)]
    tree, head = merkle.Tree(leaves), _tree_head(leaves)
    for first in range(1, size + 1):
        before, proof = _tree_head(leaves[:first]), tree.consistency(first)
        assert proof == _consistency(first, leaves, whole=True)
        assert merkle.is_prefix(before, first, head, size, proof)
        wrong = [
            (b"x" * 32, first, head, proof),
            (before, first, b"x" * 32, proof),
            (before, first, head, [*proof, head]),
        ]
        wrong += [(before, first, head, proof[:-1])] if proof else []
        wrong += [(before, first, head, [*proof[:at], b"x" * 32, *proof[at + 1 :]]) for at in range(len(proof))]
        wrong += [
            (before, other, head, proof) for other in (0, first - 1, first + 1) if other != first and other <= size
        ]
        assert not any(merkle.is_prefix(one, many, root, size, steps) for one, many, root, steps in wrong)


def _consistency(first: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    """The definition of RFC 6962, 2.1.2, word for word: SUBPROOF."""
    if first == len(leaves):
        return [] if whole else [_tree_head(leaves)]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if first <= split:
        return [*_consistency(first, leaves[:split], whole=whole), _tree_head(leaves[split:])]
    return [*_consistency(first - split, leaves[split:], whole=False), _tree_head(leaves[:split])]


class Stored:
    """Records of one kind in memory, and checkpoints where they are put."""

    kinds = ("events", "checkpoints")

    def __init__(self, count: int) -> None:
        self.chain: list[Any] = []
        self.contents_of: dict[str, list[tuple[int, bytes]]] = {kind: [] for kind in self.kinds}
        self.marks: dict[int, dict[str, Any]] = {}
        for number in range(count):
            self.add("events", {"number": number})

    def add(self, kind: str, values: dict[str, Any]) -> None:
        content = digest(values)
        made = link(self.chain[-1][4] if self.chain else GENESIS, len(self.chain) + 1, kind, content)
        self.chain.append((made.sequence, made.kind, made.content, made.previous, made.hash))
        self.contents_of[kind].append((made.sequence, content))

    def checkpoint(self, signer: Signer | None = None, **changes: Any) -> None:
        size, head = len(self.chain), self.chain[-1][4].hex()
        values = {"size": size, "head": head, "root": merkle.root(row[4] for row in self.chain).hex(), "at": "now"}
        signature = signer.sign(checkpoint_text(**values)) if signer else None
        key = signer.key if signer else None
        self.marks[size + 1] = {**values, "key": key, "signature": signature, **changes}
        self.add("checkpoints", self.marks[size + 1])

    def anchor(self, where: str, size: int) -> Anchor:
        hashes = [row[4] for row in self.chain[:size]]
        return Anchor(where, size, hashes[-1].hex(), merkle.root(hashes).hex())

    def links(self) -> Any:
        return iter(self.chain)

    def contents(self, kind: str) -> Any:
        return iter(self.contents_of[kind])

    def checkpoints(self) -> Any:
        return self.marks

    def archived(self) -> Any:
        return ()


def test_a_walk_over_sound_records_finds_nothing_and_names_their_end() -> None:
    stored = Stored(5)
    stored.checkpoint()
    stored.add("events", {"number": 5})
    found = walk(stored, [stored.anchor("a file", 5), stored.anchor("a tag", 7)])
    assert (found.size, found.first_bad, found.problems) == (7, None, [])
    assert (found.head, found.root) == (stored.chain[6][4].hex(), merkle.root(row[4] for row in stored.chain).hex())
    assert walk(Stored(0)).size == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"root": "0" * 64}, "does not match the 5 records before it"),
        ({"head": "0" * 64}, "does not match the 5 records before it"),
        ({"size": 4}, "does not match the 5 records before it"),
        ({"key": "0" * 64, "signature": "0" * 128}, "does not match its key"),
    ],
)
def test_a_checkpoint_that_names_something_else_is_found(changes: dict[str, Any], words: str) -> None:
    stored = Stored(5)
    stored.checkpoint(**changes)
    (problem,) = walk(stored).problems
    assert words in problem


def _signer() -> Signer:
    private = Ed25519PrivateKey.generate()
    return Signer(private.public_key().public_bytes_raw().hex(), private)


def test_more_records_after_the_last_signed_checkpoint_than_ever_come_without_one_are_a_problem() -> None:
    signer, stored = _signer(), Stored(3)
    stored.checkpoint(signer)
    for number in range(CHECKPOINT_EVERY - 2):
        stored.add("events", {"number": number})
    found = walk(stored, trusted={signer.key})
    assert found.problems == []
    (note,) = found.notes
    assert note == "4094 records come after the last checkpoint that a trusted key signed: no signature covers them"
    stored.add("events", {"number": "one more"})
    found = walk(stored, trusted={signer.key})
    assert found.first_bad == 5
    assert found.problems == [
        "record 5: and all up to 4099 come after the last checkpoint that a trusted key signed: "
        "one is due every 4096 records, and is missing"
    ]
    assert walk(stored).problems == []  # nobody asked for a key


def test_signing_may_begin_late_and_must_not_end() -> None:
    signer, stored = _signer(), Stored(3)
    stored.checkpoint()
    (problem,) = walk(stored, trusted={signer.key}).problems
    assert problem == "record 1: no signed checkpoint covers it: no trusted key covers any record"
    stored.checkpoint(signer)
    assert walk(stored, trusted={signer.key}).problems == []
    stored.checkpoint()
    assert walk(stored, trusted={signer.key}).problems == ["record 6: the checkpoint is not signed"]
    stored.checkpoint(signer)
    assert walk(stored, trusted={signer.key}).problems == ["record 6: the checkpoint is not signed"]


def test_a_signed_checkpoint_that_names_other_records_vouches_for_nothing() -> None:
    signer, stored = _signer(), Stored(3)
    stored.checkpoint(signer, size=2)
    stored.checkpoint()
    found = walk(stored, trusted={signer.key})
    assert {problem.partition(":")[0] for problem in found.problems} == {"record 4"}


def test_an_anchor_of_no_records_is_one_of_every_chain() -> None:
    anchor = Anchor("the file", 0, GENESIS.hex(), merkle.root([]).hex())
    assert walk(Stored(3), [anchor]).problems == []
    assert walk(Stored(3), [replace(anchor, root="0" * 64)]).first_bad == 1


def test_an_anchor_beyond_the_end_says_what_was_cut_off() -> None:
    stored = Stored(5)
    found = walk(stored, [Anchor("the file", 9, "0" * 64, "0" * 64)])
    assert found.first_bad == 6
    assert found.problems == ["record 6: and all up to 9 are missing: the file covers 9 records"]


def test_an_anchor_with_another_root_is_told() -> None:
    stored = Stored(5)
    found = walk(stored, [replace(stored.anchor("the file", 4), root="0" * 64)])
    assert found.problems == [
        "record 1: or a later one up to 4 was rewritten: the file names another root up to record 4"
    ]


def test_between_two_anchors_lies_what_was_written_anew() -> None:
    genuine, forged = Stored(9), Stored(4)
    for number in range(4, 9):
        forged.add("events", {"number": number, "forged": True})
    anchors = [genuine.anchor(f"line {size}", size) for size in (3, 6, 9)]
    found = walk(forged, anchors)
    assert found.first_bad == 4
    assert "line 6 names another hash for record 6" in found.problems[0]


def test_what_is_signed_of_a_checkpoint_is_text_that_anybody_can_write_down() -> None:
    text = checkpoint_text(size=5, head="aa", root="bb", at="2026-01-31T02:13:00.000000Z")
    assert text == b"patchcore ledger checkpoint 1\n5\naa\nbb\n2026-01-31T02:13:00.000000Z\n"
