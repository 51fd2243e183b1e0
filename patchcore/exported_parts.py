"""What the records of a part of a ledger tell of others that should be there: a part that leaves some out is none."""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

_Row = Mapping[str, Any]


class Rows(Protocol):
    """Where the records of a part are."""

    def rows(self, kind: str) -> Iterator[dict[str, Any]]:
        """Yield the records of a kind by the names of their columns."""
        ...


def missing_records(part: Rows, *, without_archives: bool) -> Iterator[tuple[int, str]]:
    """Yield what is missing from the export of a batch: the sequence of the record that tells of it, and what it is.

    Overrides and decisions are told of by no other record: that one of them was left out cannot be seen.

    Args:
        part: The records.
        without_archives: Images that lie in an archive may be missing.
    """
    batches = sorted(part.rows("batches"), key=lambda row: int(row["scoring"]))
    if not batches:
        yield 1, "there is no batch in this part"
        return
    banks = {(row["category"], row["version"]): row for row in part.rows("banks")}
    datasets = {(row["category"], row["number"]): row for row in part.rows("datasets")}
    yield from _scorings(batches)
    yield from _images(part, batches, without_archives=without_archives)
    for batch in batches:
        bank = banks.get((batch["category"], batch["bank_version"]))
        if bank is None or bank["sha256"] != batch["bank_sha256"]:
            yield batch["sequence"], f"bank {batch['bank_version']}, which scored it, is missing"
        elif (bank["category"], bank["dataset_version"]) not in datasets:
            yield bank["sequence"], f"data-set version {bank['dataset_version']}, which it was built from, is missing"
    yield from _data_sets(part, datasets)


def unlisted_data_sets(part: Rows) -> Iterator[str]:
    """Yield which data-set versions no image is listed of: of those that a ledger of format 1 had, none was."""
    if not any(True for _ in part.rows("members")):
        for row in part.rows("datasets"):
            yield f"the images of data-set version {row['number']} of {row['category']} are not here"


def _scorings(batches: list[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    names = {row["batch"] for row in batches}
    if len(names) > 1:
        yield batches[0]["sequence"], f"the part has {len(names)} batches"
    numbers = [row["scoring"] for row in batches]
    if len(names) == 1 and numbers != list(range(1, len(numbers) + 1)):
        yield batches[-1]["sequence"], f"scorings are missing: there are {numbers}"


def _images(part: Rows, batches: list[dict[str, Any]], *, without_archives: bool) -> Iterator[tuple[int, str]]:
    images: dict[int, int] = {}
    for row in part.rows("images"):
        images[row["scored_batch"]] = images.get(row["scored_batch"], 0) + 1
    ranges = [(row["first"], row["last"]) for row in part.rows("archives")]
    for batch in batches:
        sequence, received, here = batch["sequence"], batch["received"], images.get(batch["sequence"], 0)
        excused = without_archives and not here and any(first <= sequence + 1 <= last for first, last in ranges)
        if here != received and not excused:
            yield sequence, f"received {received} images, of which {here} are here"


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
