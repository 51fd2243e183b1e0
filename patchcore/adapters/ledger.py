"""The append-only record of what was known, decided and scored: data-set versions, banks, promotions, batches, images.

SQLite by default. A record that a method returns is on the disk.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict

from sqlalchemy import func, insert, select

from patchcore.adapters import ledger_checks
from patchcore.adapters.ledger_batches import Batches
from patchcore.adapters.ledger_database import Database, all_records, first_record
from patchcore.adapters.ledger_promotions import Promotions
from patchcore.adapters.ledger_records import BankRecord, DatasetVersion, Verification, now
from patchcore.adapters.ledger_tables import banks, datasets
from patchcore.errors import Refused
from patchcore.layout import Workspace


def open_ledger(workspace: Workspace) -> "Ledger":
    """Return the ledger at PATCHCORE_LEDGER_URL (an SQLAlchemy URL), or else the workspace's own.

    Raises:
        Refused: the URL is not one, or of a database that is not supported.
        Fault: the database cannot be opened.
    """
    return Ledger(os.environ.get("PATCHCORE_LEDGER_URL") or f"sqlite:///{workspace.ledger}")


class Ledger(Promotions, Batches):
    """A ledger in one database; it is made where there is none.

    Args:
        url: An SQLAlchemy URL of a SQLite file.
        wait: Seconds to wait while another process writes.

    Raises:
        Refused: the URL is not one, is of a database that is not supported, or was written by a later version.
        Fault: the database cannot be opened.
    """

    def __init__(self, url: str, wait: float = 30.0) -> None:
        super().__init__(Database(url, wait))

    def check(self) -> None:
        """Find out, before any work, whether records can be written.

        Raises:
            Fault: they cannot.
        """
        self._database.check()

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
    ) -> DatasetVersion:
        """Give a content its number in the category; a content that has one keeps it, with its first record."""
        with self._database.writing() as connection:
            if known := first_record(connection, DatasetVersion, datasets, category=category, sha256=sha256):
                return known
            last = connection.scalar(select(func.max(datasets.c.number)).where(datasets.c.category == category))
            record = DatasetVersion(
                category, (last or 0) + 1, sha256, normals, evaluation_images, dict(pointers), git_commit, who, now()
            )
            connection.execute(insert(datasets), asdict(record))
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
        with self._database.reading() as connection:
            found = all_records(connection, DatasetVersion, datasets, datasets.c.category == category)
        return found[-1] if found else None

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
    ) -> BankRecord:
        """Record a version of the registry; the same version with the same content is recorded once.

        Raises:
            Refused: the version is recorded with another content, or its data-set version is not recorded.
        """
        with self._database.writing() as connection:
            known = first_record(connection, BankRecord, banks, category=category, version=version)
            if known is None:
                record = BankRecord(
                    category, version, bank_sha256, dataset_version, dataset_sha256, run_id, git_commit, now()
                )
                connection.execute(insert(banks), asdict(record))
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

    def verify(self) -> Verification:
        """Check the file, the references, the counts, and that the database still refuses changes."""
        with self._database.reading() as connection:
            return ledger_checks.verify(connection)
