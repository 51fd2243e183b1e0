"""Exports of a ledger: a folder of tables and a proof, which anybody verifies without the database.

A whole export holds the chain from its first record to the checkpoint that names it. A part of one, such as a batch
with all that it rests on, holds some records, each with its path to the Merkle root of a checkpoint; see
docs/reference/export-format.md. `patchcore.evidence.verify_export` verifies both.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchcore._util.files import new_folder, sha256_of, write_json
from patchcore.errors import Refused
from patchcore.evidence import hash_chain as links
from patchcore.evidence.export_tables import COLUMN_TYPES, Columns, FileFormat, read_table, write_table
from patchcore.evidence.verify_chain import Archived, Records

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


class Export(Records):
    """An export as `patchcore.evidence.verify_chain` reads it.

    Args:
        folder: As `write_export` wrote it.

    Raises:
        Refused: It is no export of a format that is known.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            text = (folder / PROOF).read_text(encoding="utf-8")
            self.proof: dict[str, Any] = json.loads(text, object_pairs_hook=_without_repetition)
            _require_known(self.proof)
            self.complete = bool(self.proof["complete"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise Refused(
                f"{folder} is no export of a ledger",
                got=str(error),
                expected=f"a folder with a {PROOF} of format {FORMAT}",
                remedy="make one with: patchcore audit export FOLDER",
            ) from error
        self._columns: dict[str, Columns] = self.proof["columns"]
        self._file_of = {name.partition(".")[0]: folder / name for name in self.proof["files"]}

    @property
    def kinds(self) -> Collection[str]:
        """The kinds of records that there may be."""
        return [kind for kind in self._columns if kind != CHAIN]

    def damaged_files(self) -> Iterator[str]:
        """Yield which files are not those that were written, and which stand beside them."""
        for name, sha256 in self.proof["files"].items():
            file = self.folder / name
            if file.is_symlink() or not file.is_file():
                yield f"{name} is missing"
            elif sha256_of(file) != sha256:
                yield f"{name} was altered after it was exported"
        for entry in sorted(self.folder.iterdir()):
            if entry.name not in {PROOF, *self.proof["files"]}:
                yield f"{entry.name!r} is no part of the export: nothing vouches for it, keep it elsewhere"

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


def _require_known(proof: Mapping[str, Any]) -> None:
    """Check that a proof is one that this module writes: what is verified must be what a person opens.

    Raises:
        ValueError: It is not.
    """
    if proof["format"] != FORMAT:
        raise ValueError(f"format {proof['format']}")
    columns, files = proof["columns"], sorted(proof["files"])
    if files not in ([f"{kind}.{ending}" for kind in sorted(columns)] for ending in ("parquet", "csv")):
        raise ValueError(f"files {', '.join(files)}, expected one for each of {', '.join(sorted(columns))}")
    if unknown := {kind for table in columns.values() for kind in table.values()} - set(COLUMN_TYPES):
        raise ValueError(f"columns of type {', '.join(sorted(map(str, unknown)))}")


def _without_repetition(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object that says something twice")
    return found
