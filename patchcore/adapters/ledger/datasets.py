"""Data-set versions with their images, and banks, in the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, func, select

from patchcore.adapters.ledger.append import append
from patchcore.adapters.ledger.database import LedgerRepository, add_record, all_records, first_record
from patchcore.adapters.ledger.records import BankRecord, DatasetVersion, EventKind, Member, Membership
from patchcore.adapters.ledger.tables import banks, datasets, events, members
from patchcore.adapters.ledger.times import now
from patchcore.errors import RecordRefused

_CHANGES = (EventKind.INGEST.value, EventKind.WITHDRAW.value)
"""The kinds of events that name the data-set version of the category after them."""


@dataclass(frozen=True)
class PresentDataset:
    """The data-set version that a category holds now.

    Attributes:
        version: The data-set version.
        since: The sequence of the record since which the category holds it.
    """

    version: DatasetVersion
    since: int


class Datasets(LedgerRepository):
    """Data-set versions with their images, and banks."""

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
        """Record a data-set version under the next number of its category; a known content keeps its record and number.

        Args:
            category: The category.
            sha256: The digest of the content.
            normals: The number of normal images.
            evaluation_images: The number of labelled images.
            pointers: The text of each DVC pointer by its path.
            git_commit: The commit of the workspace.
            who: The user who made the version.
            images: All images; the differences from the version before are recorded.
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
        """Return a data-set version by its number; None if there is none."""
        with self._database.reading() as connection:
            return first_record(connection, DatasetVersion, datasets, category=category, number=number)

    def dataset_of(self, category: str, sha256: str) -> DatasetVersion | None:
        """Return a data-set version by its digest; None if there is none."""
        with self._database.reading() as connection:
            return first_record(connection, DatasetVersion, datasets, category=category, sha256=sha256)

    def latest_dataset(self, category: str) -> DatasetVersion | None:
        """Return the data-set version with the highest number; None if there is none."""
        found = self.datasets(category)
        return found[-1] if found else None

    def present_dataset(self, category: str) -> PresentDataset | None:
        """Return the data-set version that the category holds now, by the records; None before the first one.

        It need not have the highest number: a withdrawal or restored files can bring back an earlier content, which
        keeps its number.
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
        """Return the number of a content, or the number that it would get now."""
        found = self.datasets(category)
        known = next((each.number for each in found if each.sha256 == sha256), None)
        return known or (found[-1].number if found else 0) + 1

    def datasets(self, category: str) -> list[DatasetVersion]:
        """Return the data-set versions of a category, oldest first."""
        with self._database.reading() as connection:
            return all_records(connection, DatasetVersion, datasets, datasets.c.category == category)

    def members(self, category: str, number: int) -> list[Member]:
        """Return the images of a data-set version sorted by path; none if they were not recorded."""
        with self._database.reading() as connection:
            return sorted(_members(connection, category, number), key=lambda member: member.path)

    def memberships(self, sha256: str) -> list[Membership]:
        """Return the data-set versions that an image is or was in, by its digest.

        When an earlier version comes back, no difference is recorded. An image that the present version does not have
        was then in all versions up to the latest.
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
        """Return the data-set versions whose images were not recorded."""
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
        """Record a bank version of the registry; the same version with the same digest is recorded once.

        Args:
            category: The category.
            version: The bank version.
            bank_sha256: The digest of the bank.
            dataset_version: The number of the data-set version that it was built from.
            dataset_sha256: The digest of that data-set version.
            run_id: The MLflow run that built it.
            git_commit: The commit of the workspace.
            evaluation_sha256: The digest of the evaluation set that it was measured on.
            metrics: The metrics by name, finite numbers; None for a metric that is undefined.

        Raises:
            RecordRefused: The version is recorded with another digest, or its data-set version is not recorded.
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
        raise RecordRefused(
            f"bank {category} {version} is recorded with another content",
            got=bank_sha256,
            expected=known.sha256,
            remedy="check that the ledger and the registry belong to the same workspace",
        )

    def bank(self, category: str, version: int) -> BankRecord | None:
        """Return a bank version; None if there is no record of it."""
        with self._database.reading() as connection:
            return first_record(connection, BankRecord, banks, category=category, version=version)

    def banks(self, category: str | None = None) -> list[BankRecord]:
        """Return the banks of a category, or of all categories, oldest first."""
        conditions = () if category is None else (banks.c.category == category,)
        with self._database.reading() as connection:
            return all_records(connection, BankRecord, banks, *conditions)


def _members(connection: Connection, category: str, number: int) -> set[Member]:
    """Return the images of a data-set version: those added up to it, without those removed again."""
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
    """Return the data-set versions that a category held, oldest first, as sequence of a record and number.

    A category holds a version from its record on, and again from an event that names it.
    """
    new = select(datasets.c.sequence, datasets.c.number).where(datasets.c.category == category)
    named = select(events.c.sequence, events.c.summary).where(
        events.c.category == category, events.c.action.in_(_CHANGES)
    )
    held = [(sequence, number) for sequence, number in connection.execute(new)]
    for sequence, summary in connection.execute(named):
        if isinstance(number := summary.get("dataset_version"), int):
            held.append((sequence, number))
    return sorted(held)


def _changes(dataset: int, before: set[Member], images: Sequence[Member]) -> list[dict[str, Any]]:
    after = set(images)
    rows = [(member, False) for member in before - after] + [(member, True) for member in after - before]
    ordered = sorted(rows, key=lambda row: (row[1], row[0].path))
    return [{**asdict(member), "dataset": dataset, "added": added} for member, added in ordered]
