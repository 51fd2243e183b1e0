"""Exporting the ledger, or a batch with every record that it depends on, to a folder that verifies without the ledger.

What belongs to the export of a batch is recorded first, and the ledger is anchored, so the export can be compared with
both.
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from patchcore.adapters.ledger.evidence_records import Checkpoint
from patchcore.errors import Fault
from patchcore.evidence.export import write_export
from patchcore.evidence.export_scope import EXPORT, contents_of_part
from patchcore.evidence.export_tables import FileFormat
from patchcore.evidence.merkle import Tree
from patchcore.lifecycle.archived_images import archived_rows
from patchcore.lifecycle.evidence.anchoring import anchor
from patchcore.lifecycle.evidence.results import ExportResult
from patchcore.lifecycle.services import Services, who


def export(services: Services, folder: Path, *, batch: str | None, file_format: FileFormat) -> ExportResult:
    """Export the ledger, or a batch with every record that it depends on.

    An account that may only read exports what the last checkpoint covers.

    Args:
        services: The opened workspace.
        folder: The folder to make; it must not exist.
        batch: The name of the batch; None: the whole ledger.
        file_format: The format of the tables.

    Raises:
        InvalidPath: The folder exists.
        UnknownBatch: There is no such batch.
        InvalidArchive: An archive is not the file that was written.
        Fault: The ledger has no checkpoint and cannot be written, or the folder cannot be written.
    """
    if batch is None:
        proof = _export_ledger(services, folder, file_format)
    else:
        proof = _export_batch(services, folder, batch, file_format)
    return ExportResult(
        folder=str(folder),
        complete=proof["complete"],
        checkpoint=Checkpoint(**proof["checkpoint"]),
        records=proof["records"],
        files=proof["files"],
    )


def _export_ledger(services: Services, folder: Path, file_format: FileFormat) -> dict[str, Any]:
    checkpoint = _checkpoint(services)
    with services.ledger.tables(up_to=checkpoint.sequence) as tables:
        images = _merged(tables["images"].rows, archived_rows(services))
        tables["images"] = replace(tables["images"], rows=images)
        return write_export(folder, tables, {"complete": True, "checkpoint": asdict(checkpoint)}, file_format)


def _export_batch(services: Services, folder: Path, batch: str, file_format: FileFormat) -> dict[str, Any]:
    up_to, event = _record_export(services, batch)
    checkpoint = _checkpoint(services)
    if event is not None and event > checkpoint.size:  # no checkpoint covers it, and none could be made
        event = None
    with services.ledger.tables(batch, up_to=min(up_to, checkpoint.size), event=event) as tables:
        for name in ("chain", "batches"):
            tables[name] = replace(tables[name], rows=list(tables[name].rows))
        scored = [row[0] for row in tables["batches"].rows]
        moved = (row for sequence in scored for row in archived_rows(services, ("scored_batch", sequence)))
        tables["images"] = replace(tables["images"], rows=_merged(tables["images"].rows, moved))
        tree = Tree(services.ledger.hashes(checkpoint.size))
        earlier = [each.size for each in services.ledger.checkpoints() if each.size < checkpoint.size]
        proof = {
            "complete": False,
            "batch": batch,
            "checkpoint": asdict(checkpoint),
            "paths": {str(row[0]): _in_hex(tree.path(row[0] - 1)) for row in tables["chain"].rows},
            # Every anchor names a checkpoint, so an export can be compared with any earlier anchor.
            "consistency": {str(each): _in_hex(tree.consistency(each)) for each in earlier},
        }
        return write_export(folder, tables, proof, file_format)


def _record_export(services: Services, batch: str) -> tuple[int, int | None]:
    """Record what belongs to the export of a batch; return the last of these sequences, and that of the event.

    For an account that may only read, the second is None.

    Raises:
        UnknownBatch: There is no such batch.
    """
    with services.ledger.tables(batch) as tables:
        sequences = [row[0] for row in tables["chain"].rows]
        scoring = dict(zip(tables["batches"].columns, next(iter(tables["batches"].rows)), strict=True))
    summary = contents_of_part(batch, sequences)
    try:
        return max(sequences), services.ledger.record_event(scoring["category"], EXPORT, summary, who=who()).sequence
    except Fault:
        return max(sequences), None


def _merged(here: Iterable[Sequence[Any]], moved: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """Yield records in the order of their sequences. One that is being archived may be in both; it is yielded once."""
    last = 0
    for row in heapq.merge(here, moved, key=lambda row: row[0]):
        if row[0] != last:
            yield row
        last = row[0]


def _in_hex(nodes: Sequence[bytes]) -> list[str]:
    return [node.hex() for node in nodes]


def _checkpoint(services: Services) -> Checkpoint:
    try:
        return anchor(services).checkpoint
    except Fault:
        if not (made := services.ledger.checkpoints()):
            raise
        return made[-1]
