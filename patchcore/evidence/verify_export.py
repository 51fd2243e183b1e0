"""Verifying an export with nothing but its files, and with what was written down of the ledger elsewhere."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from patchcore.errors import Refused
from patchcore.evidence.export import PROOF, Export
from patchcore.evidence.export_scope import missing_records, unseen_records
from patchcore.evidence.merkle import is_prefix, root_from
from patchcore.evidence.signing import checkpoint_text, is_signed
from patchcore.evidence.verify_chain import Anchor, Walk, is_link, walk

_UNREADABLE = (Refused, ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""What reading a file raises that somebody put together by hand."""


def verify_export(
    folder: Path, anchors: Iterable[Anchor] = (), trusted: Collection[str] = (), *, without_archives: bool = False
) -> Walk:
    """Verify an export.

    Args:
        folder: As `patchcore.evidence.export.write_export` wrote it.
        anchors: What was written down of the ledger elsewhere. All must agree; those of a later state cannot be
            compared.
        trusted: Public keys that checkpoints must be signed by; none: any key will do, and none at all.
        without_archives: Contents that lie in an archive may be missing; else that is a problem.

    Raises:
        Refused: It is no export.
    """
    export, known = Export(folder), list(anchors)
    damaged = list(export.damaged_files())
    try:
        size = int(export.proof["checkpoint"]["size"])
        comparable = [anchor for anchor in known if anchor.size <= size]
        verify = verify_whole if export.complete else verify_part
        found = verify(export, comparable, trusted, without_archives=without_archives)
        _check_counts(found, export)
        if later := len(known) - len(comparable):
            words = f"{later} of the anchors name a later state of the ledger than this export"
            found.notes.append(words) if comparable else found.note(size, words)
    except _UNREADABLE as error:
        return Walk(problems=[*damaged, f"the records cannot be read: {error}"])
    if not known:
        found.notes.append("no anchor was given: who made this export may have made all of it up")
    found.problems[:0] = damaged
    return found


def verify_whole(
    export: Export, anchors: Sequence[Anchor], trusted: Collection[str], *, without_archives: bool
) -> Walk:
    """Verify that every record is what it was, from the first to the checkpoint that names them."""
    checkpoint = export.proof["checkpoint"]
    own = Anchor(PROOF, int(checkpoint["size"]), str(checkpoint["head"]), str(checkpoint["root"]))
    found = walk(export, [*anchors, own], trusted, without_archives=without_archives)
    end = int(checkpoint["sequence"])
    if found.size > end:
        found.note(end + 1, f"and all up to {found.size} stand after the checkpoint that the export ends with")
    elif found.size < end and own.size <= found.size:
        found.note(found.size + 1, "the checkpoint that the export ends with is missing")
    _check_signature(found, checkpoint, trusted)
    return found


def verify_part(export: Export, anchors: Sequence[Anchor], trusted: Collection[str], *, without_archives: bool) -> Walk:
    """Verify that each record of a part is what it was, and one of those that the checkpoint names.

    What was left out of a part is found as far as the records that are here tell of it: see `export_scope`.
    """
    checkpoint, paths = export.proof["checkpoint"], export.proof["paths"]
    found = Walk(size=checkpoint["size"], head=checkpoint["head"], root=checkpoint["root"])
    contents = {kind: _contents(found, export, kind) for kind in export.kinds}
    moved = [(each.first, each.last) for each in export.archived()] if without_archives else []
    sequences, unseen = [], 0
    for sequence, kind, content, previous, value in export.links():
        if not is_link(previous, sequence, kind, content, value):
            found.note(sequence, "its link in the chain was altered")
        here = contents.get(kind, {}).pop(sequence, None)
        if here is None and kind == "images" and any(first <= sequence <= last for first, last in moved):
            unseen += 1
        elif here != content:
            found.note(sequence, f"its content in {kind!r} was altered, or is missing")
        if not _leads_to(checkpoint, sequence, value, paths.get(str(sequence), [])):
            found.note(sequence, "is none of those that the checkpoint names")
        sequences.append(sequence)
    found.checked = len(sequences) - unseen
    for kind, rest in contents.items():
        for sequence in rest:
            found.note(sequence, f"stands in {kind}, and the chain knows nothing of it")
    if unseen:
        found.notes.append(f"{unseen} images lie in archives, which are not here: they were not checked")
    for sequence, problem in missing_records(export, str(export.proof["batch"]), sequences):
        found.note(sequence, problem)
    found.notes += unseen_records(export)
    _check_signature(found, checkpoint, trusted)
    _check_anchors(found, export.proof, anchors, sequences)
    return found


def _check_counts(found: Walk, export: Export) -> None:
    """Compare the numbers of records that the proof states with those that there are."""
    for kind, stated in export.proof["records"].items():
        here = sum(1 for _ in export.links()) if kind not in export.kinds else sum(1 for _ in export.contents(kind))
        if here != stated:
            found.problems.append(f"{PROOF} speaks of {stated} records in {kind}, there are {here}")


def _check_anchors(found: Walk, proof: Mapping[str, Any], anchors: Sequence[Anchor], sequences: Sequence[int]) -> None:
    """Hold the checkpoint of a part against what was written down of the ledger, before or when it was made."""
    agreed: Anchor | None = None
    for anchor in sorted(anchors, key=lambda each: each.size):
        if (wrong := _contradiction(proof, anchor)) is None:
            agreed = anchor
            continue
        start = min(agreed.size + 1 if agreed else 1, anchor.size)
        found.note(start, f"or one after it up to {anchor.size} may have been written anew: {wrong}")
    if agreed and (after := sum(sequence > agreed.size for sequence in sequences)):
        found.notes.append(
            f"{after} of these records came after the last anchor, {agreed.where}: none vouches for them"
        )


def _contradiction(proof: Mapping[str, Any], anchor: Anchor) -> str | None:
    """Say why the ledger that an anchor names did not become the one that the checkpoint names; None: it did."""
    checkpoint = proof["checkpoint"]
    size, root = int(checkpoint["size"]), bytes.fromhex(checkpoint["root"])
    if anchor.size == size:
        agrees = (anchor.head, anchor.root) == (checkpoint["head"], checkpoint["root"])
        return None if agrees else f"{anchor.where} names another hash or root than the checkpoint"
    steps = proof.get("consistency", {}).get(str(anchor.size))
    if steps is None:
        return f"no proof that the {anchor.size} records that {anchor.where} names are the first of the checkpoint's"
    if is_prefix(bytes.fromhex(anchor.root), anchor.size, root, size, [bytes.fromhex(step) for step in steps]):
        return None
    return f"the {anchor.size} records that {anchor.where} names are not the first of the checkpoint's"


def _contents(found: Walk, export: Export, kind: str) -> dict[int, bytes]:
    contents: dict[int, bytes] = {}
    for sequence, content in export.contents(kind):
        if sequence in contents:
            found.note(sequence, f"is there twice in {kind}")
        contents[sequence] = content
    return contents


def _leads_to(checkpoint: Mapping[str, Any], sequence: int, value: bytes, path: Sequence[str]) -> bool:
    try:
        reached = root_from(value, sequence - 1, checkpoint["size"], [bytes.fromhex(node) for node in path])
    except ValueError:
        return False
    return reached.hex() == str(checkpoint["root"])


def _check_signature(found: Walk, checkpoint: Mapping[str, Any], trusted: Collection[str]) -> None:
    size, key, signature = checkpoint["size"], checkpoint["key"], checkpoint["signature"]
    text = checkpoint_text(size=size, head=checkpoint["head"], root=checkpoint["root"], at=checkpoint["at"])
    if key is not None and signature is not None and not is_signed(text, key, signature):
        found.note(size, "the signature of the checkpoint is not that of its key")
    if trusted and (signature is None or key not in trusted):
        found.note(size, "the checkpoint is not signed by a key that is trusted")
