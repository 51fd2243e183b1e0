"""Whether the ledger still says what was written into it, and exports that show it to others."""

import heapq
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from patchcore._util.progress import progress
from patchcore.adapters.ledger.evidence_records import Checkpoint, Verification
from patchcore.adapters.ledger.records import BankRecord
from patchcore.adapters.mlflow.registry import damage
from patchcore.errors import Fault, Refused
from patchcore.evidence.export import write_export
from patchcore.evidence.export_scope import EXPORT, contents_of_part
from patchcore.evidence.export_tables import FileFormat
from patchcore.evidence.merkle import Tree
from patchcore.evidence.signing import trusted_keys
from patchcore.evidence.verify_chain import Anchor, Walk
from patchcore.evidence.verify_export import verify_export
from patchcore.lifecycle import archived_images
from patchcore.lifecycle.evidence.anchoring import anchor, anchors
from patchcore.lifecycle.services import Services, who

_ATTEMPTS = 5  # to look at the ledger while nobody archives
_ARCHIVES = "the archives in the ledger"
_NO_ANCHOR = "no anchor was found: nothing outside the ledger shows that its end was not cut off or written anew"
_Record = TypeVar("_Record")


def configured_keys() -> frozenset[str]:
    """Return the public keys that PATCHCORE_TRUSTED_KEYS names; none where it is not set.

    Raises:
        InvalidKey: it is set and names no key, or one that cannot be read.
    """
    from patchcore.config.settings import read_settings

    names = read_settings().trusted_keys
    return frozenset() if names is None else trusted_keys(names)


def verify(
    services: Services, *, banks: bool = True, known: Sequence[Anchor] = (), without_archives: bool = False
) -> Verification:
    """Check every record, that the chain is the one that anchors name, and that the banks are those of then.

    Args:
        services: The opened workspace.
        banks: Fetch every bank from the registry and compare its digest with the ledger's.
        known: More anchors than those of the workspace's own places.
        without_archives: Archives may be missing; else that is a problem.

    Raises:
        Refused: A trusted key cannot be read, or PATCHCORE_TRUSTED_KEYS names none.
        Fault: The ledger does not answer.
    """
    trusted = configured_keys()
    recorded, problems = _answer("the banks in the ledger", services.ledger.banks)
    outside = anchors(services, [bank.category for bank in recorded])
    compared = [*outside.anchors, *known]
    found = _walked(services, compared, trusted, without_archives=without_archives)
    problems += [*outside.problems, *(_bank_problems(services, recorded) if banks else [])]
    exported, unanswered = _answer("the exports in the ledger", lambda: list(_export_problems(services, recorded)))
    problems += [*exported, *unanswered]
    notes = outside.notes if compared else [*outside.notes, _NO_ANCHOR]
    return replace(
        found,
        ok=found.ok and not problems,
        problems=tuple(map(_plain, (*found.problems, *problems))),
        notes=tuple(map(_plain, (*found.notes, *notes))),
        banks=len(recorded) if banks else None,
    )


def _walked(
    services: Services, known: Sequence[Anchor], trusted: Collection[str], *, without_archives: bool
) -> Verification:
    """Verify the ledger and its archives; again, where images moved to one between the two looks at them."""
    for _ in range(_ATTEMPTS):
        listed, problems = _answer(_ARCHIVES, services.ledger.archives)
        opened, wrong = archived_images.content_digests(services, listed)
        found = services.ledger.verify(known, trusted, opened, without_archives=without_archives)
        if found.ok or _answer(_ARCHIVES, services.ledger.archives)[0] == listed:
            break
    problems += [f"record {sequence}: {words}" for sequence, words in wrong]
    bad = [sequence for sequence in (found.first_bad, *(sequence for sequence, _ in wrong)) if sequence is not None]
    first = min(bad, default=None)
    return replace(found, ok=found.ok and not problems, first_bad=first, problems=(*found.problems, *problems))


def _answer(what: str, question: Callable[[], list[_Record]]) -> tuple[list[_Record], list[str]]:
    """Return what the ledger answers, or why it cannot: what somebody wrote there shall not keep us from the rest."""
    try:
        return question(), []
    except (Fault, ValueError, TypeError, OverflowError, RecursionError) as error:  # no JSON where JSON belongs
        return [], [f"{what} cannot be read: {error}"]


def _plain(text: str) -> str:
    """Return a text with no character in it that would do something to a terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def export(services: Services, folder: Path, *, batch: str | None, file_format: FileFormat) -> dict[str, Any]:
    """Write the ledger, or a batch with all that it rests on, to a folder that is verified without the ledger.

    What belongs to the export of a batch is recorded, and the ledger is anchored: the export can be held against both.
    Who may only read exports what the last checkpoint names.

    Raises:
        Refused: The folder exists, there is no such batch, or an archive is not the file that was written.
        Fault: The ledger has no checkpoint and cannot be written, or the folder cannot.
    """
    if batch is not None:
        return _export_batch(services, folder, batch, file_format)
    checkpoint = _checkpoint(services)
    with services.ledger.tables(up_to=checkpoint.sequence) as tables:
        images = _merged(tables["images"].rows, archived_images.archived_rows(services))
        tables["images"] = replace(tables["images"], rows=images)
        return write_export(folder, tables, {"complete": True, "checkpoint": asdict(checkpoint)}, file_format)


def _export_batch(services: Services, folder: Path, batch: str, file_format: FileFormat) -> dict[str, Any]:
    up_to, told_by = _tell(services, batch)
    checkpoint = _checkpoint(services)
    if told_by is not None and told_by > checkpoint.size:  # nobody could make a checkpoint that names it
        told_by = None
    with services.ledger.tables(batch, up_to=min(up_to, checkpoint.size), told_by=told_by) as tables:
        for name in ("chain", "batches"):
            tables[name] = replace(tables[name], rows=list(tables[name].rows))
        scored = [row[0] for row in tables["batches"].rows]
        moved = (
            row for sequence in scored for row in archived_images.archived_rows(services, ("scored_batch", sequence))
        )
        tables["images"] = replace(tables["images"], rows=_merged(tables["images"].rows, moved))
        tree = Tree(services.ledger.hashes(checkpoint.size))
        earlier = [each.size for each in services.ledger.checkpoints() if each.size < checkpoint.size]
        proof = {
            "complete": False,
            "batch": batch,
            "checkpoint": asdict(checkpoint),
            "paths": {str(row[0]): _in_hex(tree.path(row[0] - 1)) for row in tables["chain"].rows},
            # Every anchor is a checkpoint: whoever has one of any day can hold the export against it.
            "consistency": {str(each): _in_hex(tree.consistency(each)) for each in earlier},
        }
        return write_export(folder, tables, proof, file_format)


def _tell(services: Services, batch: str) -> tuple[int, int | None]:
    """Record what belongs to the export of a batch; return the last of these records, and the one that tells of them.

    Who may only read tells nothing: the second is None.

    Raises:
        Refused: There is no such batch.
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
    """Yield records by their sequences, once: one that is archived at this moment can be in both."""
    last = 0
    for row in heapq.merge(here, moved, key=lambda row: row[0]):
        if row[0] != last:
            yield row
        last = row[0]


def verify_file(
    folder: Path, known: Sequence[Anchor], trusted: Collection[str], *, without_archives: bool = False
) -> Verification:
    """Verify an export with no database at hand.

    Raises:
        Refused: It is no export.
    """
    found: Walk = verify_export(folder, known, trusted, without_archives=without_archives)
    values = (found.size, found.head, found.root, found.first_bad, tuple(found.problems), tuple(found.notes))
    return Verification(not found.problems, *values, anchors=len(known), checked=found.checked)


def _in_hex(nodes: Sequence[bytes]) -> list[str]:
    return [node.hex() for node in nodes]


def _checkpoint(services: Services) -> Checkpoint:
    try:
        return anchor(services).checkpoint
    except Fault:
        if not (made := services.ledger.checkpoints()):
            raise
        return made[-1]


def _export_problems(services: Services, recorded: Sequence[BankRecord]) -> Iterator[str]:
    """Tell which records of an export of a batch say something else than what belonged to it."""
    for category in dict.fromkeys(bank.category for bank in recorded):
        for event in services.ledger.events(category, EXPORT):
            stated = dict(event.summary)
            try:
                with services.ledger.tables(str(stated.get("batch")), up_to=stated.get("up_to")) as tables:
                    there = contents_of_part(str(stated.get("batch")), (row[0] for row in tables["chain"].rows))
            except Refused:
                there = {}
            if stated != there:
                yield f"record {event.sequence}: says something else of the export of a batch than what belonged to it"


def _bank_problems(services: Services, recorded: Sequence[BankRecord]) -> list[str]:
    """Tell which banks the registry no longer has as they were recorded."""
    problems: list[str] = []
    if not recorded:
        return problems
    with progress("verify: banks", len(recorded)) as advance:
        for done, bank in enumerate(recorded, start=1):
            try:
                wrong = _what_is_wrong(services, bank)
            except Fault as error:  # it will not answer for the others either; what the walk found is told all the same
                return [*problems, f"the banks from {bank.category} {bank.version} on were not compared: {error}"]
            if wrong:
                problems.append(f"bank {bank.category} {bank.version} is not the one that was recorded: {wrong}")
            advance(done)
    return problems


def _what_is_wrong(services: Services, bank: BankRecord) -> str | None:
    with tempfile.TemporaryDirectory() as temporary:
        try:
            folder = services.registry.download_bank(bank.category, bank.version, Path(temporary) / "bank")
            return damage(folder, bank.sha256) or _other_metrics(services, bank)
        except Refused as error:
            return f"got {error.got}, expected {error.expected}"


def _other_metrics(services: Services, bank: BankRecord) -> str | None:
    """Say what MLflow shows of a bank that was not measured; of banks of early versions nobody knows."""
    shown = services.registry.version(bank.category, bank.version).metrics
    if bank.metrics is None or shown == bank.metrics:
        return None
    if not isinstance(bank.metrics, dict):
        return "its record holds no metrics"
    names = sorted(name for name in {*shown, *bank.metrics} if shown.get(name) != bank.metrics.get(name))
    return "; ".join(f"MLflow says {name} {shown.get(name)}, measured was {bank.metrics.get(name)}" for name in names)
