"""Data-set versions and banks in the ledger: what there was, which images were in it, and what was built from it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, func, select

from patchcore.adapters.ledger.append import append
from patchcore.adapters.ledger.database import Book, add_record, all_records, first_record
from patchcore.adapters.ledger.records import BankRecord, DatasetVersion, EventKind, Member, Membership
from patchcore.adapters.ledger.tables import banks, datasets, events, members
from patchcore.adapters.ledger.times import now
from patchcore.errors import Refused

_CHANGES = (EventKind.INGEST.value, EventKind.WITHDRAW.value)
"""The kinds of events that name the data-set version of the category after them."""


@dataclass(frozen=True)
class PresentDataset:
    """The data-set version that a category holds, and the sequence of the record since which it does."""

    version: DatasetVersion
    since: int


class Datasets(Book):
    """Every data-set version with its images, and every bank."""

    def record_dataset(
        self,
        category: str,
        sha256: str,
        *,
        normals: int,
        evaluation_images: int,
        pointers: Mapping[str, str],
        git_commit: str | None,
        who: str,
        images: Sequence[Member] = (),
    ) -> DatasetVersion:
        """Give a content its number in the category; a content that has one keeps it, with its first record.

        Args:
            category: The category.
            sha256: Of the content.
            normals: Normal images in it.
            evaluation_images: Labelled images in it.
            pointers: The text of each DVC pointer, by its path.
            git_commit: Of the workspace.
            who: Who brought it.
            images: All its images; what the number before had not, and had besides, is written down.
        """
        with self._database.writing() as connection:
            if known := first_record(connection, DatasetVersion, datasets, category=category, sha256=sha256):
                return known
            last = connection.scalar(select(func.max(datasets.c.number)).where(datasets.c.category == category)) or 0
            record = DatasetVersion(
                category, last + 1, sha256, normals, evaluation_images, dict(pointers), git_commit, who, now()
            )
            sequence = add_record(connection, "datasets", asdict(record))
            append(connection, "members", _changes(sequence, _members(connection, category, last), images))
        return record

    def dataset(self, category: str, number: int) -> DatasetVersion | None:
        """Return a data-set version by its number."""
        with self._database.reading() as connection:
            return first_record(connection, DatasetVersion, datasets, category=category, number=number)

    def dataset_of(self, category: str, sha256: str) -> DatasetVersion | None:
        """Return a data-set version by its content."""
        with self._database.reading() as connection:
            return first_record(connection, DatasetVersion, datasets, category=category, sha256=sha256)

    def latest_dataset(self, category: str) -> DatasetVersion | None:
        """Return the data-set version with the highest number."""
        found = self.datasets(category)
        return found[-1] if found else None

    def present_dataset(self, category: str) -> PresentDataset | None:
        """Return the data-set version that the category was last recorded to hold; None before the first one.

        It is not always the one with the highest number: a withdrawal, or files that somebody restored, can bring an
        earlier content back, which keeps its number.
        """
        with self._database.reading() as connection:
            held = _held(connection, category)
            if not held:
                return None
            number = held[-1][1]
            run = list(takewhile(lambda change: change[1] == number, reversed(held)))
            version = first_record(connection, DatasetVersion, datasets, category=category, number=number)
        return PresentDataset(version, since=run[-1][0]) if version else None

    def number_for(self, category: str, sha256: str) -> int:
        """Return the number that a content has or, if nobody else comes first, would be given."""
        found = self.datasets(category)
        known = next((each.number for each in found if each.sha256 == sha256), None)
        return known or (found[-1].number if found else 0) + 1

    def datasets(self, category: str) -> list[DatasetVersion]:
        """Return the data-set versions of a category, the first one first."""
        with self._database.reading() as connection:
            return all_records(connection, DatasetVersion, datasets, datasets.c.category == category)

    def members(self, category: str, number: int) -> list[Member]:
        """Return the images of a data-set version by their paths; none where they were not recorded."""
        with self._database.reading() as connection:
            return sorted(_members(connection, category, number), key=lambda member: member.path)

    def memberships(self, sha256: str) -> list[Membership]:
        """Return the data-set versions that an image is or was in, by its content.

        An earlier version can come back, which writes down no difference: an image that the present one has not was in
        all versions up to the latest.
        """
        query = (
            select(datasets.c.category, datasets.c.number, members.c.path, members.c.part, members.c.added)
            .join_from(members, datasets, members.c.dataset == datasets.c.sequence)
            .where(members.c.sha256 == sha256)
            .order_by(members.c.sequence)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            held = {
                category: [number for _, number in _held(connection, category)] for category in {r[0] for r in rows}
            }
        found: list[Membership] = []
        open_since: dict[tuple[str, str, str], int] = {}
        for category, number, path, part, added in rows:
            if added:
                open_since[category, path, part] = number
            else:
                first = open_since.pop((category, path, part))
                present = first <= held[category][-1] < number
                found.append(Membership(category, path, part, first, number - 1, present))
        for place, first in open_since.items():
            present = first <= held[place[0]][-1]
            found.append(Membership(*place, first, None if present else max(held[place[0]]), present))
        return found

    def unlisted_datasets(self) -> list[DatasetVersion]:
        """Return the data-set versions of which the ledger does not know the images: those of format 1."""
        listed = datasets.alias("listed")
        known = (
            select(members.c.sequence)
            .join_from(members, listed, members.c.dataset == listed.c.sequence)
            .where(listed.c.category == datasets.c.category, listed.c.number <= datasets.c.number)
        )
        unknown = (~known.exists(), datasets.c.normals + datasets.c.evaluation_images > 0)
        with self._database.reading() as connection:
            return all_records(connection, DatasetVersion, datasets, *unknown)

    def record_bank(
        self,
        category: str,
        version: int,
        bank_sha256: str,
        *,
        dataset_version: int,
        dataset_sha256: str,
        run_id: str,
        git_commit: str | None,
        evaluation_sha256: str,
        metrics: Mapping[str, float | None],
    ) -> BankRecord:
        """Record a version of the registry; the same version with the same content is recorded once.

        Args:
            category: The category.
            version: The number of the version.
            bank_sha256: Of the bank.
            dataset_version: The number of the data-set version that it was built from.
            dataset_sha256: Of that data-set version.
            run_id: Of the MLflow run that built it.
            git_commit: Of the workspace.
            evaluation_sha256: Of the evaluation set that it was measured on.
            metrics: What was measured, finite numbers by name; None where one has no meaning.

        Raises:
            Refused: the version is recorded with another content, or its data-set version is not recorded.
        """
        with self._database.writing() as connection:
            known = first_record(connection, BankRecord, banks, category=category, version=version)
            if known is None:
                record = BankRecord(
                    category,
                    version,
                    bank_sha256,
                    dataset_version,
                    dataset_sha256,
                    run_id,
                    git_commit,
                    now(),
                    evaluation_sha256,
                    dict(metrics),
                )
                add_record(connection, "banks", asdict(record))
                return record
        if known.sha256 == bank_sha256:
            return known
        raise Refused(
            f"bank {category} {version} is recorded with another content",
            got=bank_sha256,
            expected=known.sha256,
            remedy="check whether the ledger and the registry belong together",
        )

    def bank(self, category: str, version: int) -> BankRecord | None:
        """Return a bank by its version."""
        with self._database.reading() as connection:
            return first_record(connection, BankRecord, banks, category=category, version=version)

    def banks(self, category: str | None = None) -> list[BankRecord]:
        """Return the banks of a category, or of all, in the order in which they were recorded."""
        conditions = () if category is None else (banks.c.category == category,)
        with self._database.reading() as connection:
            return all_records(connection, BankRecord, banks, *conditions)


def _members(connection: Connection, category: str, number: int) -> set[Member]:
    """Return the images of a data-set version: what was added up to it, less what was taken away again."""
    query = (
        select(members.c.path, members.c.sha256, members.c.part, members.c.added)
        .join_from(members, datasets, members.c.dataset == datasets.c.sequence)
        .where(datasets.c.category == category, datasets.c.number <= number)
        .order_by(members.c.sequence)
    )
    present: set[Member] = set()
    for path, sha256, part, added in connection.execute(query):
        (present.add if added else present.discard)(Member(path, sha256, part))
    return present


def _held(connection: Connection, category: str) -> list[tuple[int, int]]:
    """Return which data-set versions a category held, one after the other: sequence of a record that says so, number.

    A version is held when it gets its number, and again when an ingest or a withdrawal left it behind.
    """
    new = select(datasets.c.sequence, datasets.c.number).where(datasets.c.category == category)
    told = select(events.c.sequence, events.c.summary).where(
        events.c.category == category, events.c.action.in_(_CHANGES)
    )
    held = [(sequence, number) for sequence, number in connection.execute(new)]
    for sequence, summary in connection.execute(told):
        if isinstance(number := summary.get("dataset_version"), int):
            held.append((sequence, number))
    return sorted(held)


def _changes(dataset: int, before: set[Member], images: Sequence[Member]) -> list[dict[str, Any]]:
    after = set(images)
    rows = [(member, False) for member in before - after] + [(member, True) for member in after - before]
    ordered = sorted(rows, key=lambda row: (row[1], row[0].path))
    return [{**asdict(member), "dataset": dataset, "added": added} for member, added in ordered]
