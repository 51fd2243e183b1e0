"""Verifying an export from its files alone, and against anchors of the ledger.

Only pyarrow and cryptography are needed. What a verification detects, and what it does not, depends on the anchors: an
export without an anchor is only consistent in itself, and its author may have invented all of it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from patchcore.errors import Refused
from patchcore.evidence.anchors import Anchor
from patchcore.evidence.export import PROOF, Export
from patchcore.evidence.export_scope import missing_records, unseen_records
from patchcore.evidence.findings import Findings, Verification
from patchcore.evidence.merkle import is_prefix, root_from
from patchcore.evidence.signing import checkpoint_text, is_signed
from patchcore.evidence.verify_chain import is_link, walk

_UNREADABLE = (Refused, ValueError, LookupError, TypeError, AttributeError, OverflowError)
"""The errors that reading a file of unexpected content raises."""


def verify_export(
    folder: Path, anchors: Iterable[Anchor] = (), trusted: Collection[str] = (), *, without_archives: bool = False
) -> Verification:
    """Verify the export of a ledger or of a batch.

    Args:
        folder: The export, as ``patchcore audit export`` writes it.
        anchors: Anchors of the ledger; see `patchcore.evidence.anchors.read_anchors`. The export must agree with all of
            them; an anchor of a later state than the export's cannot be compared.
        trusted: Public keys, 64 hexadecimal digits each, that must have signed the checkpoints. Empty: any key, or no
            signature, is accepted.
        without_archives: Whether contents in archives may be missing; if not, a missing one is a problem.

    Returns:
        The result; ``ok`` is False if there is any problem.

    Raises:
        InvalidExport: The folder is not an export of a known format.

    Example:
        >>> from pathlib import Path
        >>> from patchcore.errors import InvalidExport
        >>> try:
        ...     verify_export(Path("no-such-folder"))
        ... except InvalidExport as error:
        ...     error.code
        'invalid-export'
    """
    export, known = Export(folder), list(anchors)
    damaged = list(export.damaged_files())
    try:
        size = int(export.proof["checkpoint"]["size"])
        comparable = [anchor for anchor in known if anchor.size <= size]
        verify = _verify_whole if export.complete else _verify_batch
        found = verify(export, comparable, trusted, without_archives=without_archives)
        _check_counts(found, export)
        if later := len(known) - len(comparable):
            words = f"{later} of the anchors are of a later state of the ledger than this export"
            found.notes.append(words) if comparable else found.note(size, words)
    except _UNREADABLE as error:
        problems = [*damaged, f"the records cannot be read: {error}"]
        return Findings(problems=problems).result(anchors=len(known))
    if not known:
        found.notes.append("no anchor was given: the author of this export may have invented all of it")
    found.problems[:0] = damaged
    return found.result(anchors=len(known))


def _verify_whole(
    export: Export, anchors: Sequence[Anchor], trusted: Collection[str], *, without_archives: bool
) -> Findings:
    """Verify every record from the first to the checkpoint that covers them."""
    checkpoint = export.proof["checkpoint"]
    own = Anchor(PROOF, int(checkpoint["size"]), str(checkpoint["head"]), str(checkpoint["root"]))
    found = walk(export, [*anchors, own], trusted, without_archives=without_archives)
    end = int(checkpoint["sequence"])
    if found.size > end:
        found.note(end + 1, f"and all up to {found.size} come after the last checkpoint of the export")
    elif found.size < end and own.size <= found.size:
        found.note(found.size + 1, "the last checkpoint of the export is missing")
    _check_signature(found, checkpoint, trusted)
    return found


def _verify_batch(
    export: Export, anchors: Sequence[Anchor], trusted: Collection[str], *, without_archives: bool
) -> Findings:
    """Verify each record of the export of a batch, and that the checkpoint covers it.

    A record that was left out is detected if another record refers to it: see `patchcore.evidence.export_scope`.
    """
    checkpoint, paths = export.proof["checkpoint"], export.proof["paths"]
    found = Findings(size=checkpoint["size"], head=checkpoint["head"], root=checkpoint["root"])
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
            found.note(sequence, "is not a record that the checkpoint covers")
        sequences.append(sequence)
    found.checked = len(sequences) - unseen
    for kind, rest in contents.items():
        for sequence in rest:
            found.note(sequence, f"is in {kind} but has no link in the chain")
    if unseen:
        found.notes.append(f"{unseen} images are in archives, which are not here: they were not checked")
    for sequence, problem in missing_records(export, str(export.proof["batch"]), sequences):
        found.note(sequence, problem)
    found.notes += unseen_records(export)
    _check_signature(found, checkpoint, trusted)
    _check_anchors(found, export.proof, anchors, sequences)
    return found


def _check_counts(found: Findings, export: Export) -> None:
    """Compare the counts of records in the proof with the tables."""
    for kind, stated in export.proof["records"].items():
        here = sum(1 for _ in export.links()) if kind not in export.kinds else sum(1 for _ in export.contents(kind))
        if here != stated:
            found.problems.append(f"{PROOF} states {stated} records in {kind}, but there are {here}")


def _check_anchors(
    found: Findings, proof: Mapping[str, Any], anchors: Sequence[Anchor], sequences: Sequence[int]
) -> None:
    """Compare the checkpoint of the export of a batch with anchors of the same or an earlier state."""
    agreed: Anchor | None = None
    for anchor in sorted(anchors, key=lambda each: each.size):
        if (wrong := _contradiction(proof, anchor)) is None:
            agreed = anchor
            continue
        start = min(agreed.size + 1 if agreed else 1, anchor.size)
        found.note(start, f"or a later one up to {anchor.size} may have been rewritten: {wrong}")
    if agreed and (after := sum(sequence > agreed.size for sequence in sequences)):
        found.notes.append(
            f"{after} of these records come after the last anchor, {agreed.where}: no anchor covers them"
        )


def _contradiction(proof: Mapping[str, Any], anchor: Anchor) -> str | None:
    """Return why the records that an anchor covers are not the first of the checkpoint's; None if they are."""
    checkpoint = proof["checkpoint"]
    size, root = int(checkpoint["size"]), bytes.fromhex(checkpoint["root"])
    if anchor.size == size:
        agrees = (anchor.head, anchor.root) == (checkpoint["head"], checkpoint["root"])
        return None if agrees else f"{anchor.where} names another hash or root than the checkpoint"
    steps = proof.get("consistency", {}).get(str(anchor.size))
    if steps is None:
        return f"no proof that the {anchor.size} records that {anchor.where} covers are the first of the checkpoint's"
    if is_prefix(bytes.fromhex(anchor.root), anchor.size, root, size, [bytes.fromhex(step) for step in steps]):
        return None
    return f"the {anchor.size} records that {anchor.where} covers are not the first of the checkpoint's"


def _contents(found: Findings, export: Export, kind: str) -> dict[int, bytes]:
    contents: dict[int, bytes] = {}
    for sequence, content in export.contents(kind):
        if sequence in contents:
            found.note(sequence, f"occurs twice in {kind}")
        contents[sequence] = content
    return contents


def _leads_to(checkpoint: Mapping[str, Any], sequence: int, value: bytes, path: Sequence[str]) -> bool:
    try:
        reached = root_from(value, sequence - 1, checkpoint["size"], [bytes.fromhex(node) for node in path])
    except ValueError:
        return False
    return reached.hex() == str(checkpoint["root"])


def _check_signature(found: Findings, checkpoint: Mapping[str, Any], trusted: Collection[str]) -> None:
    size, key, signature = checkpoint["size"], checkpoint["key"], checkpoint["signature"]
    text = checkpoint_text(size=size, head=checkpoint["head"], root=checkpoint["root"], at=checkpoint["at"])
    if key is not None and signature is not None and not is_signed(text, key, signature):
        found.note(size, "the signature of the checkpoint does not match its key")
    if trusted and (signature is None or key not in trusted):
        found.note(size, "the checkpoint is not signed by a trusted key")
