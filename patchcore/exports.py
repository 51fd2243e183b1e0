"""Exports of a ledger: a folder of tables and a proof, which anybody verifies without the database.

A whole export holds the chain from its first record, and is walked. A part of one, such as a batch with all that it
rests on, holds some records, each with its path to the Merkle root of a checkpoint; see docs/ledger-format.md.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchcore import chain as links
from patchcore.chain_walk import Anchor, Archived, Records, Walk, is_link, walk
from patchcore.errors import Refused
from patchcore.exported_parts import missing_records, unlisted_data_sets
from patchcore.exported_tables import Columns, FileFormat, read_table, write_table
from patchcore.files import new_folder, read_json, sha256_of, write_json
from patchcore.merkle import is_prefix, root_from
from patchcore.signatures import checkpoint_text, is_signed

CHAIN, PROOF, FORMAT = "chain", "proof.json", 2
LINK_COLUMNS: Columns = {
    "sequence": "int64",
    "kind": "string",
    "content": "string",
    "previous": "string",
    "hash": "string",
}


@dataclass(frozen=True)
class Table:
    """A table to be exported: its columns, ``sequence`` first, and its rows by their sequences."""

    columns: Columns
    rows: Iterable[Sequence[Any]]


def write_export(
    folder: Path, tables: Mapping[str, Table], proof: Mapping[str, Any], file_format: FileFormat
) -> dict[str, Any]:
    """Write tables and their proof as a folder, whole or not at all.

    Args:
        folder: Where; nothing may be there yet.
        tables: By the kinds of their records, and ``chain``.
        proof: What is to be known besides: ``complete`` and ``checkpoint``; of a part ``paths`` and ``consistency``.
        file_format: Of the tables.

    Returns:
        What stands in proof.json.

    Raises:
        Refused: The folder is there already.
    """
    if folder.exists():
        raise Refused(f"no export to {folder}", got="a folder that exists", expected="a new one", remedy="name another")
    with new_folder(folder) as place:
        files, columns, counts = {}, {}, {}
        for name, table in tables.items():
            file = place / f"{name}.{file_format}"
            counts[name] = write_table(file, table.columns, table.rows)
            files[file.name], columns[name] = sha256_of(file), dict(table.columns)
        whole = {"format": FORMAT, **proof, "records": counts, "columns": columns, "files": files}
        write_json(place / PROOF, whole)
    return whole


def verify_export(
    folder: Path, anchors: Iterable[Anchor] = (), trusted: Collection[str] = (), *, without_archives: bool = False
) -> Walk:
    """Verify an export.

    Args:
        folder: As `write_export` wrote it.
        anchors: What was written down of the ledger elsewhere.
        trusted: Public keys that checkpoints must be signed by; none: any key will do, and none at all.
        without_archives: Contents that lie in an archive may be missing; else that is a problem.

    Raises:
        Refused: It is no export, or a file of it cannot be read.
    """
    export, known = Export(folder), list(anchors)
    damaged = list(export.damaged_files())
    try:
        if export.complete:
            checkpoint = export.proof["checkpoint"]
            own = Anchor(PROOF, int(checkpoint["size"]), str(checkpoint["head"]), str(checkpoint["root"]))
            found = walk(export, [*known, own], trusted, without_archives=without_archives)
            _check_signature(found, checkpoint, trusted)
        else:
            found = verify_part(export, known, trusted, without_archives=without_archives)
    except (Refused, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:  # somebody's own file
        return Walk(problems=[*damaged, f"the records cannot be read: {error}"])
    if not known:
        found.notes.append("no anchor was given: who made this export may have made all of it up")
    found.problems[:0] = damaged
    return found


class Export(Records):
    """An export as `patchcore.chain_walk` reads it.

    Args:
        folder: As `write_export` wrote it.

    Raises:
        Refused: It is no export of a format that is known.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.proof: dict[str, Any] = read_json(folder / PROOF)
            if self.proof["format"] not in {1, FORMAT}:  # format 1 knew no ``consistency``
                raise ValueError(f"format {self.proof['format']}")
            self._columns: dict[str, Columns] = self.proof["columns"]
            self._file_of = {Path(name).stem: folder / _plain(name) for name in self.proof["files"]}
            self.complete = bool(self.proof["complete"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise Refused(
                f"{folder} is no export of a ledger",
                got=str(error),
                expected=f"a folder with a {PROOF} of format {FORMAT}",
                remedy="make one with: patchcore audit export FOLDER",
            ) from error

    @property
    def kinds(self) -> Collection[str]:
        """The kinds of records that there may be."""
        return [kind for kind in self._columns if kind != CHAIN]

    def damaged_files(self) -> Iterator[str]:
        """Yield which files are not those that were written."""
        for name, sha256 in self.proof["files"].items():
            file = self.folder / name
            if not file.is_file():
                yield f"{name} is missing"
            elif sha256_of(file) != sha256:
                yield f"{name} was altered after it was exported"

    def links(self) -> Iterator[tuple[int, str, bytes, bytes, bytes]]:
        """Yield every link."""
        for sequence, kind, *digests in read_table(self._file_of[CHAIN], LINK_COLUMNS):
            content, previous, value = map(bytes.fromhex, digests)
            yield sequence, kind, content, previous, value

    def contents(self, kind: str) -> Iterator[tuple[int, bytes]]:
        """Yield sequence and content digest of every record of a kind."""
        columns = self._columns[kind]
        names = sorted(name for name in columns if name != "sequence")
        in_order: Columns = {"sequence": "int64", **{name: columns[name] for name in names}}
        for sequence, *values in read_table(self._file_of[kind], in_order):
            try:
                yield sequence, links.digest_of_sorted(names, values)
            except ValueError:  # an infinite number: nothing that was ever written
                yield sequence, b""

    def rows(self, kind: str) -> Iterator[dict[str, Any]]:
        """Yield the records of a kind by the names of their columns."""
        columns = self._columns[kind]
        for row in read_table(self._file_of[kind], columns):
            yield dict(zip(columns, row, strict=True))

    def checkpoints(self) -> Mapping[int, Mapping[str, Any]]:
        """Return the values of each checkpoint by its sequence."""
        return {row["sequence"]: row for row in self.rows("checkpoints")}

    def archived(self) -> Sequence[Archived]:
        """Return which images were moved into archives."""
        rows = self.rows("archives")
        return [
            Archived(row["sequence"], row["name"], "images", row["first"], row["last"], row["images"]) for row in rows
        ]


def verify_part(export: Export, anchors: Sequence[Anchor], trusted: Collection[str], *, without_archives: bool) -> Walk:
    """Verify that each record of a part is what it was, and one of those that the checkpoint names.

    What was left out of a part is found as far as the records that are here tell of it; see `patchcore.exported_parts`.
    """
    checkpoint, paths = export.proof["checkpoint"], export.proof["paths"]
    found = Walk(size=checkpoint["size"], head=checkpoint["head"], root=checkpoint["root"])
    contents = {kind: _contents(found, export, kind) for kind in export.kinds}
    for sequence, kind, content, previous, value in export.links():
        if not is_link(previous, sequence, kind, content, value):
            found.note(sequence, "its link in the chain was altered")
        if contents.get(kind, {}).pop(sequence, None) != content:
            found.note(sequence, f"its content in {kind} was altered, or is missing")
        if not _leads_to(checkpoint, sequence, value, paths.get(str(sequence), [])):
            found.note(sequence, "is none of those that the checkpoint names")
        found.checked += 1
    for kind, rest in contents.items():
        for sequence in rest:
            found.note(sequence, f"stands in {kind}, and the chain knows nothing of it")
    for sequence, problem in missing_records(export, without_archives=without_archives):
        found.note(sequence, problem)
    found.notes += unlisted_data_sets(export)
    _check_signature(found, checkpoint, trusted)
    _check_anchors(found, export.proof, anchors, [sequence for sequence, *_ in export.links()])
    return found


def _check_anchors(found: Walk, proof: Mapping[str, Any], anchors: Sequence[Anchor], sequences: Sequence[int]) -> None:
    """Hold the checkpoint of a part against what was written down of the ledger, before or when it was made."""
    size = int(proof["checkpoint"]["size"])
    comparable = sorted((each for each in anchors if each.size <= size), key=lambda each: each.size)
    agreed: Anchor | None = None
    for anchor in comparable:
        if (wrong := _contradiction(proof, anchor)) is None:
            agreed = anchor
            continue
        start = min(agreed.size + 1 if agreed else 1, anchor.size)
        found.note(start, f"or one after it up to {anchor.size} may have been written anew: {wrong}")
    if later := len(anchors) - len(comparable):
        words = f"{later} of the anchors name a later state of the ledger than this export"
        found.note(size, words) if not comparable else found.notes.append(words)
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


def _plain(name: str) -> str:
    if Path(name).name != name:
        raise ValueError(f"a file in another folder: {name}")
    return name


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
