"""The ledger's database: one writer at a time, commits that reach the disk, and errors with a remedy."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Table, inspect, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from patchcore.adapters.ledger.append import append, checkpoint_if_due
from patchcore.adapters.ledger.dialects import WRITING, database_of
from patchcore.errors import InvalidLedger, LedgerOutdated, LedgerUnavailable, RecordRefused
from patchcore.evidence.signing import Signer

Record = TypeVar("Record")

REVISION = "0004"
"""The revision of the tables, as `migrations` numbers them."""

SAME_TABLES = frozenset({REVISION, "0003"})
"""The revisions whose tables are those of today: version 0.1.0 made them in three steps, and wrote 0003."""


class Database:
    """A database with the ledger's tables, which are created if there are none.

    Args:
        url: An SQLAlchemy URL.
        wait: Seconds to wait while another process writes.
        signer: Signs checkpoints.

    Raises:
        LedgerOutdated: The tables have a revision that this version does not know.
        Refused: The URL is not one, or is of another database.
        Fault: the database cannot be opened.
    """

    def __init__(self, url: str, wait: float, signer: Signer | None = None) -> None:
        parsed, self.dialect = database_of(url)
        self._name, self.signer = parsed.render_as_string(hide_password=True), signer
        with self._our_errors():
            self._engine = self.dialect.open(parsed, wait)
        with self.reading() as connection:
            present = revision_of(connection)
        if present is None:
            self.migrate()
        elif present not in SAME_TABLES:
            raise self._unknown(present)

    @classmethod
    def upgraded(cls, url: str, wait: float) -> "Database":
        """Return a database whose tables were brought to this version's revision first.

        Raises:
            LedgerOutdated: The tables have a revision that this version does not know.
            Refused: The URL is not one, or is of another database.
            Fault: the database cannot be written.
        """
        database = cls._unchecked(url, wait)
        database.migrate()
        return database

    @classmethod
    def revision_at(cls, url: str, wait: float) -> str | None:
        """Return the revision that the tables of a database carry; None where there are none.

        Raises:
            Refused: The URL is not one, or is of another database.
            Fault: The database does not answer.
        """
        with cls._unchecked(url, wait).reading() as connection:
            return revision_of(connection)

    @classmethod
    def _unchecked(cls, url: str, wait: float) -> "Database":
        database = cls.__new__(cls)
        parsed, database.dialect = database_of(url)
        database._name, database.signer = parsed.render_as_string(hide_password=True), None
        with database._our_errors():
            database._engine = database.dialect.open(parsed, wait)
        return database

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the ledger.

        Raises:
            LedgerUnavailable: The database does not answer.
        """
        with self._our_errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield the one connection that may write. Its records are stored together when the block ends, or not at all.

        Raises:
            RecordRefused: A record breaks a rule of its table.
            LedgerUnavailable: The database cannot be written.
        """
        with self._exclusive() as connection:
            yield connection
            checkpoint_if_due(connection, self.signer)

    def check(self) -> None:
        """Check, before any work, that records can be written.

        Raises:
            LedgerUnavailable: They cannot.
        """
        with self._exclusive() as connection:
            self.dialect.try_to_write(connection)

    def migrate(self) -> None:
        """Bring the tables to this version's revision; create them if there are none.

        Raises:
            LedgerOutdated: This version does not know their revision.
            Fault: The database cannot be written.
        """
        from patchcore.adapters.ledger.migrations import stamp, upgrade

        with self._exclusive() as connection:
            present = revision_of(connection)  # another process may have been first
            if present is None:
                upgrade(connection)
            elif present not in SAME_TABLES:
                raise self._unknown(present)
            elif present != REVISION:
                stamp(connection)

    def _unknown(self, revision: str) -> LedgerOutdated:
        return LedgerOutdated(
            f"ledger {self._name}",
            got=f"revision {revision}",
            expected=f"revision {REVISION}",
            remedy="use the version of the library that wrote it, or a later one",
        )

    @contextmanager
    def _exclusive(self) -> Iterator[Connection]:
        with self._our_errors(), self._engine.connect() as connection:
            connection.execution_options(**{WRITING: True})
            with connection.begin():
                yield connection

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise RecordRefused(
                f"ledger {self._name} refuses the record",
                got=str(error.orig).partition("\n")[0],
                expected="a record that keeps the rules of its table",
                remedy="nothing was written; add the records first that this one refers to",
            ) from error
        except UnicodeEncodeError as error:
            raise RecordRefused(
                f"ledger {self._name} refuses the record",
                got=ascii(error.object),
                expected="text in UTF-8",
                remedy="rename the file",
            ) from error
        except (DBAPIError, sqlite3.Error, OSError) as error:
            raise self._cannot_be_used(error) from error

    def _cannot_be_used(self, error: Exception) -> LedgerUnavailable:
        cause = error.orig if isinstance(error, DBAPIError) else error
        return LedgerUnavailable(
            f"ledger {self._name} cannot be used",
            got=" ".join(str(cause).split()),
            expected="a database that can be read and written",
            remedy="check the path or server, its permissions and free space, or set PATCHCORE_LEDGER_URL",
        )


class LedgerRepository:
    """The methods of the ledger for one kind of record; `Ledger` combines them."""

    def __init__(self, database: Database) -> None:
        self._database = database


def revision_of(connection: Connection) -> str | None:
    """Return the revision of the ledger's tables in a database; None where there are none.

    Raises:
        Refused: the database does not name one revision.
    """
    present = inspect(connection)
    if present.has_table("alembic_version"):
        named = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all()
        if len(named) != 1:
            raise InvalidLedger(
                "the table alembic_version of the ledger",
                got=f"{len(named)} rows",
                expected="one row, the revision of the tables",
                remedy=f"restore the row from a backup; the tables of this version of the library are {REVISION}",
            )
        return str(named[0])
    return "unknown, tables without a number" if present.has_table("batches") else None


def add_record(connection: Connection, kind: str, values: Mapping[str, Any]) -> int:
    """Add one record to the table of its kind, and return its sequence."""
    (sequence,) = append(connection, kind, [values])
    return sequence


def as_record(kind: type[Record], row: RowMapping) -> Record:
    """Return a row as a record: columns and fields have the same names."""
    return kind(**{field.name: row[field.name] for field in fields(kind)})  # type: ignore[arg-type]  # all are dataclasses


def all_records(
    connection: Connection,
    kind: type[Record],
    table: Table,
    *conditions: ColumnElement[bool],
    order: Column[Any] | None = None,
) -> list[Record]:
    """Return the records of a table that meet the conditions, in the order in which they were written."""
    query = select(table).where(*conditions).order_by(table.c.sequence if order is None else order)
    return [as_record(kind, row) for row in connection.execute(query).mappings()]


def first_record(connection: Connection, kind: type[Record], table: Table, **values: object) -> Record | None:
    """Return the one record whose columns have these values."""
    found = all_records(connection, kind, table, *(table.c[name] == value for name, value in values.items()))
    return found[0] if found else None
