"""What the records of a part of a ledger tell of others that should be there: a part that leaves some out is none.

Whoever exports a batch records in the ledger which records belong to it, before the checkpoint is made that the part is
held against: to leave out one of them, an override say, takes a false record that stays in the ledger.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

_Row = Mapping[str, Any]


class Rows(Protocol):
    """Where the records of a part are."""

    def rows(self, kind: str) -> Iterator[dict[str, Any]]:
        """Yield the records of a kind by the names of their columns."""
        ...


EXPORT = "export"
"""The action of the event that tells what belongs to the export of a batch."""


def contents_of_part(batch: str, sequences: Iterable[int]) -> dict[str, Any]:
    """Return what the ledger records of an export: the batch, and number, last sequence and digest of its records.

    Args:
        batch: Its name.
        sequences: Of all records but the one that this is for.
    """
    ordered = sorted(sequences)
    digest = hashlib.sha256("".join(f"{sequence}\n" for sequence in ordered).encode())
    last = ordered[-1] if ordered else 0
    return {"batch": batch, "records": len(ordered), "up_to": last, "sha256": digest.hexdigest()}


def missing_records(part: Rows, batch: str, sequences: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Yield what is missing from the export of a batch: the sequence of the record that tells of it, and what it is.

    Args:
        part: The records.
        batch: The name of the batch.
        sequences: Of all links of the part.
    """
    batches = sorted(part.rows("batches"), key=lambda row: int(row["scoring"]))
    if not batches:
        yield 1, "there is no batch in this part"
        return
    banks = {(row["category"], row["version"]): row for row in part.rows("banks")}
    datasets = {(row["category"], row["number"]): row for row in part.rows("datasets")}
    yield from _told(part, batch, sequences)
    yield from _scorings(batches, batch)
    yield from _images(batches, sequences)
    for scoring in batches:
        bank = banks.get((scoring["category"], scoring["bank_version"]))
        if bank is None or bank["sha256"] != scoring["bank_sha256"]:
            yield scoring["sequence"], f"bank {scoring['bank_version']}, which scored it, is missing"
        elif (bank["category"], bank["dataset_version"]) not in datasets:
            yield bank["sequence"], f"data-set version {bank['dataset_version']}, which it was built from, is missing"
    yield from _data_sets(part, datasets)


def unseen_records(part: Rows) -> Iterator[str]:
    """Yield what cannot be seen: what nothing tells of, and images that a ledger of format 1 did not list."""
    if not _exports(part):
        yield "no record tells what belongs to this export: that an override or a decision was left out is not seen"
    if not any(True for _ in part.rows("members")):
        for row in part.rows("datasets"):
            yield f"the images of data-set version {row['number']} of {row['category']} are not here"


def _exports(part: Rows) -> list[dict[str, Any]]:
    return [row for row in part.rows("events") if row["action"] == EXPORT]


def _told(part: Rows, batch: str, sequences: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Compare the records that are here with what was recorded of the export."""
    for told in _exports(part):
        own = told["sequence"]
        here = contents_of_part(batch, (sequence for sequence in sequences if sequence != own))
        stated = json.loads(told["summary"])
        if stated != here:
            words = f"the export of batch {stated.get('batch')!r} has {stated.get('records')} records"
            yield own, f"{words} besides this one; those that are here, {here['records']}, are not the same"


def _scorings(batches: list[dict[str, Any]], batch: str) -> Iterator[tuple[int, str]]:
    names = {row["batch"] for row in batches}
    if names != {batch}:
        yield batches[0]["sequence"], f"the part has the batches {sorted(names)}, expected {batch!r}"
    numbers = [row["scoring"] for row in batches]
    if len(names) == 1 and numbers != list(range(1, len(numbers) + 1)):
        yield batches[-1]["sequence"], f"scorings are missing: there are {numbers}"


def _images(batches: list[dict[str, Any]], sequences: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Look for the links of all images of each scoring, which follow its own: also where the images are elsewhere."""
    present = set(sequences)
    for batch in batches:
        first, received = batch["sequence"] + 1, batch["received"]
        here = sum(sequence in present for sequence in range(first, first + received))
        if here != received:
            yield batch["sequence"], f"received {received} images, of which {here} are here"


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
    """Compare the images of each data-set version with the number that its record says; format 1 kept none."""
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
            yield dataset["sequence"], f"the data-set version has {expected} images, of which {len(images)} are here"
    for sequence in changes:
        yield sequence, "images of a data-set version that is missing"
