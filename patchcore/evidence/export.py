"""Exports of a ledger: a folder of tables and a proof that can be verified without the database.

A complete export holds every record from the first to a checkpoint that covers them all. The export of a batch holds
the records that the batch depends on, each with its Merkle audit path to the root in a checkpoint. The folder holds one
Parquet or CSV file per kind of record, the chain, and ``proof.json`` with the checkpoint, the audit paths, the columns
and the sha256 of every file. `patchcore.evidence.export_verification` verifies both kinds.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchcore._util.files import new_folder, sha256_of, write_json
from patchcore.errors import InvalidExport, InvalidPath
from patchcore.evidence import hash_chain
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
    """A table to export.

    Attributes:
        columns: The type of each column by its name, ``sequence`` first.
        rows: The records in the order of their sequences, the values in the order of the columns.
    """

    columns: Columns
    rows: Iterable[Sequence[Any]]


def write_export(
    folder: Path, tables: Mapping[str, Table], proof: Mapping[str, Any], file_format: FileFormat
) -> dict[str, Any]:
    """Write tables and their proof as a folder; it appears at once, complete, or not at all.

    Args:
        folder: The folder to make; it must not exist.
        tables: The tables by their kind of record, and the table ``chain``.
        proof: More entries of proof.json: ``complete`` and ``checkpoint``; for a batch also ``batch``, ``paths`` and
            ``consistency``.
        file_format: The format of the tables.

    Returns:
        The content of proof.json.

    Raises:
        InvalidPath: The folder exists.
    """
    if folder.exists():
        raise InvalidPath(
            f"cannot export to {folder}",
            got="a folder that exists",
            expected="a new folder",
            remedy="choose another folder",
        )
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
    """An export, as `patchcore.evidence.verify_chain` reads records.

    Args:
        folder: The folder that `write_export` wrote.

    Raises:
        InvalidExport: The folder is not an export of a known format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            text = (folder / PROOF).read_text(encoding="utf-8")
            self.proof: dict[str, Any] = json.loads(text, object_pairs_hook=_without_repetition)
            _require_known(self.proof)
            self.complete = bool(self.proof["complete"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidExport(
                f"{folder} is not an export of a ledger",
                got=str(error),
                expected=f"a folder with a {PROOF} of format {FORMAT}",
                remedy="write an export with: patchcore audit export FOLDER",
            ) from error
        self._columns: dict[str, Columns] = self.proof["columns"]
        self._file_of = {name.partition(".")[0]: folder / name for name in self.proof["files"]}

    @property
    def kinds(self) -> Collection[str]:
        """The kinds of records."""
        return [kind for kind in self._columns if kind != CHAIN]

    def damaged_files(self) -> Iterator[str]:
        """Yield one sentence per file that is missing, altered, or not part of the export."""
        for name, sha256 in self.proof["files"].items():
            file = self.folder / name
            if file.is_symlink() or not file.is_file():
                yield f"{name} is missing"
            elif sha256_of(file) != sha256:
                yield f"{name} was altered after it was exported"
        for entry in sorted(self.folder.iterdir()):
            if entry.name not in {PROOF, *self.proof["files"]}:
                yield f"{entry.name!r} is not part of the export and cannot be verified: keep it elsewhere"

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
                yield sequence, hash_chain.digest_of_sorted(names, values)
            except ValueError:  # an infinite number: this library never writes one
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
        """Return the images that were moved to archives."""
        rows = self.rows("archives")
        return [
            Archived(row["sequence"], row["name"], "images", row["first"], row["last"], row["images"]) for row in rows
        ]


def _require_known(proof: Mapping[str, Any]) -> None:
    """Check that a proof has the form that `write_export` gives it, so that every file a person opens is verified.

    Raises:
        ValueError: It has not.
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
        raise ValueError("an object with the same key twice")
    return found
