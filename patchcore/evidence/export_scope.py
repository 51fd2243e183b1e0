"""Which records belong to the export of a batch, and which of them are missing.

Before a batch is exported, an event in the ledger records which records belong to the export, and a checkpoint then
covers that event. A person who leaves out a record, such as an override, would have to forge the event too, and a
forged event stays in the ledger.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

_Row = Mapping[str, Any]


class Rows(Protocol):
    """The records of an export."""

    def rows(self, kind: str) -> Iterator[dict[str, Any]]:
        """Yield the records of a kind, values by column name."""
        ...


EXPORT = "export"
"""The action of the event that records what belongs to the export of a batch."""


def contents_of_part(batch: str, sequences: Iterable[int]) -> dict[str, Any]:
    """Return the summary of the event that records an export.

    Args:
        batch: The name of the batch.
        sequences: The sequences of all records of the export, without that event itself.

    Returns:
        ``batch``; ``records``, their number; ``up_to``, the last sequence; ``sha256`` of the sequences in order, one
        decimal number per line.

    Example:
        >>> contents_of_part("monday", [3, 1, 2])["up_to"]
        3
    """
    ordered = sorted(sequences)
    digest = hashlib.sha256("".join(f"{sequence}\n" for sequence in ordered).encode())
    last = ordered[-1] if ordered else 0
    return {"batch": batch, "records": len(ordered), "up_to": last, "sha256": digest.hexdigest()}


def missing_records(part: Rows, batch: str, sequences: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield what is missing from the export of a batch: the sequence of the record that refers to it, and a sentence.

    Args:
        part: The records of the export.
        batch: The name of the batch.
        sequences: The sequences of all links of the export.
    """
    batches = sorted(part.rows("batches"), key=lambda row: int(row["scoring"]))
    if not batches:
        yield 1, "there is no batch in this export"
        return
    banks = {(row["category"], row["version"]): row for row in part.rows("banks")}
    datasets = {(row["category"], row["number"]): row for row in part.rows("datasets")}
    yield from _stated(part, batch, sequences)
    yield from _scorings(batches, batch)
    yield from _images(batches, sequences)
    for scoring in batches:
        bank = banks.get((scoring["category"], scoring["bank_version"]))
        if bank is None or bank["sha256"] != scoring["bank_sha256"]:
            yield scoring["sequence"], f"bank version {scoring['bank_version']}, which scored it, is missing"
        elif (bank["category"], bank["dataset_version"]) not in datasets:
            yield (
                bank["sequence"],
                f"data-set version {bank['dataset_version']}, which the bank was built from, is missing",
            )
    yield from _data_sets(part, datasets)


def unseen_records(part: Rows) -> Iterator[str]:
    """Yield one sentence per kind of record whose absence cannot be detected."""
    if not _exports(part):
        yield "no record says what belongs to this export: a missing override or decision is not detected"
    if not any(True for _ in part.rows("members")):
        for row in part.rows("datasets"):
            yield f"the images of data-set version {row['number']} of {row['category']} are not in the export"


def _exports(part: Rows) -> list[dict[str, Any]]:
    return [row for row in part.rows("events") if row["action"] == EXPORT]


def _stated(part: Rows, batch: str, sequences: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Compare the records with the event that says what belongs to the export."""
    for event in _exports(part):
        own = event["sequence"]
        here = contents_of_part(batch, (sequence for sequence in sequences if sequence != own))
        stated = json.loads(event["summary"])
        if stated != here:
            words = f"the export of batch {stated.get('batch')!r} has {stated.get('records')} records"
            yield own, f"{words} besides this one; the {here['records']} records found are not the same"


def _scorings(batches: list[dict[str, Any]], batch: str) -> Iterator[tuple[int, str]]:
    names = {row["batch"] for row in batches}
    if names != {batch}:
        yield batches[0]["sequence"], f"the export has the batches {sorted(names)}, expected {batch!r}"
    numbers = [row["scoring"] for row in batches]
    if len(names) == 1 and numbers != list(range(1, len(numbers) + 1)):
        yield batches[-1]["sequence"], f"scorings are missing: the export has {numbers}"


def _images(batches: list[dict[str, Any]], sequences: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Count the links of each scoring's images. They follow its own link, even if the images are in an archive."""
    present = set(sequences)
    for batch in batches:
        first, received = batch["sequence"] + 1, batch["received"]
        here = sum(sequence in present for sequence in range(first, first + received))
        if here != received:
            yield batch["sequence"], f"received {received} images, of which {here} are in the export"


def _data_sets(part: Rows, datasets: Mapping[tuple[str, int], _Row]) -> Iterator[tuple[int, str]]:
    newest: dict[str, int] = {}
    for category, number in datasets:
        newest[category] = max(newest.get(category, 0), number)
    for category, last in newest.items():
        missing = [number for number in range(1, last + 1) if (category, number) not in datasets]
        if missing:
            yield datasets[category, last]["sequence"], f"data-set versions {missing} of {category} are missing"
    yield from _members(part, datasets)


def _members(part: Rows, datasets: Mapping[tuple[str, int], _Row]) -> Iterator[tuple[int, str]]:
    """Compare the images of each data-set version with their number in its record; images may be unlisted."""
    changes: dict[int, list[dict[str, Any]]] = {}
    for row in part.rows("members"):
        changes.setdefault(row["dataset"], []).append(row)
    present: dict[str, set[tuple[str, str, str]]] = {}
    for (category, _), dataset in sorted(datasets.items()):
        images = present.setdefault(category, set())
        for row in changes.pop(dataset["sequence"], []):
            member = (row["path"], row["sha256"], row["part"])
            images.add(member) if row["added"] else images.discard(member)
        expected = dataset["normals"] + dataset["evaluation_images"]
        if images and len(images) != expected:
            yield (
                dataset["sequence"],
                f"the data-set version has {expected} images, of which {len(images)} are in the export",
            )
    for sequence in changes:
        yield sequence, "lists images of a data-set version that is missing"
