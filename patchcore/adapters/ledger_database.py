"""The ledger's connection to its database: writers take turns, commits reach the disk, errors say what to do."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    NullPool,
    RowMapping,
    Table,
    create_engine,
    event,
    make_url,
    select,
)
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from patchcore.adapters.ledger_records import BankRecord, BatchRecord, DatasetVersion, Decision, ImageScore
from patchcore.adapters.ledger_tables import FORMAT, make_tables
from patchcore.errors import Fault, Refused

Record = TypeVar("Record", DatasetVersion, BankRecord, Decision, BatchRecord, ImageScore)

_WRITING = "ledger_writing"  # execution option of a connection that is going to add rows


class Database:
    """A SQLite file with the ledger's tables; both are made where they are missing.

    Args:
        url: An SQLAlchemy URL.
        wait: Seconds to wait while another process writes.

    Raises:
        Refused: the URL is not one, is of another database, or the tables are a later version's.
        Fault: the database cannot be opened.
    """

    def __init__(self, url: str, wait: float) -> None:
        parsed = _supported(url)
        self._name = parsed.render_as_string(hide_password=True)
        self._engine = _engine(parsed, wait)
        with self._our_errors():
            _make_folder(parsed)
        with self.reading() as connection:
            present = _format(connection)
        if present == 0:
            self._make_tables()
        elif present != FORMAT:
            raise Refused(
                f"ledger {self._name}",
                got=f"format {present}",
                expected=f"format {FORMAT}",
                remedy="use the version of the library that wrote it, or a later one",
            )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection that sees one state of the ledger.

        Raises:
            Fault: the database does not answer.
        """
        with self._our_errors(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield the one connection that may write; when the block ends, all that it adds is on the disk, or nothing.

        Raises:
            Refused: a record breaks a rule of the tables.
            Fault: the database cannot be written.
        """
        with self._our_errors(), self._engine.connect() as connection:
            connection.execution_options(**{_WRITING: True})
            with connection.begin():
                yield connection

    def check(self) -> None:
        """Write what is there already, to find out whether writing is possible.

        Raises:
            Fault: it is not.
        """
        with self.writing() as connection:
            connection.exec_driver_sql(f"PRAGMA user_version = {FORMAT}")

    def _make_tables(self) -> None:
        with self.writing() as connection:
            if _format(connection) == 0:  # another process may have been first
                make_tables(connection)

    @contextmanager
    def _our_errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise Refused(
                f"ledger {self._name} does not take the record",
                got=str(error.orig),
                expected="a record that keeps the rules of its table",
                remedy="nothing was written: record first what this record names",
            ) from error
        except UnicodeEncodeError as error:
            raise Refused(
                f"ledger {self._name} does not take the record",
                got=ascii(error.object),
                expected="text that is UTF-8",
                remedy="rename the file",
            ) from error
        except (DBAPIError, sqlite3.Error, OSError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise Fault(
                f"ledger {self._name} cannot be used",
                got=str(cause),
                expected="a database file that can be read and written",
                remedy="check the path, its permissions and the space on the disk, or set PATCHCORE_LEDGER_URL",
            ) from error


class Book:
    """One kind of records in the ledger's database."""

    def __init__(self, database: Database) -> None:
        self._database = database


def as_record(kind: type[Record], row: RowMapping) -> Record:
    """Return a row as a record: columns and fields have the same names."""
    return kind(**{field.name: row[field.name] for field in fields(kind)})


def all_records(
    connection: Connection,
    kind: type[Record],
    table: Table,
    *conditions: ColumnElement[bool],
    order: Column[Any] | None = None,
) -> list[Record]:
    """Return the records of a table that meet the conditions, in the order in which they were written."""
    query = select(table).where(*conditions).order_by(table.c.id if order is None else order)
    return [as_record(kind, row) for row in connection.execute(query).mappings()]


def first_record(connection: Connection, kind: type[Record], table: Table, **values: object) -> Record | None:
    """Return the one record whose columns have these values."""
    found = all_records(connection, kind, table, *(table.c[name] == value for name, value in values.items()))
    return found[0] if found else None


def _supported(url: str) -> URL:
    remedy = "set PATCHCORE_LEDGER_URL to sqlite:////absolute/path/ledger.db, or unset it"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise Refused("PATCHCORE_LEDGER_URL", got="no URL", expected="an SQLAlchemy URL", remedy=remedy) from error
    name = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() != "sqlite":
        raise Refused(f"ledger {name}", got=parsed.get_backend_name(), expected="sqlite", remedy=remedy)
    if parsed.database in {None, "", ":memory:"} or "memory" in parsed.query.values():
        raise Refused(f"ledger {name}", got="a database in memory", expected="one that lasts", remedy=remedy)
    return parsed


def _make_folder(url: URL) -> None:
    path = url.database or ""
    if not path.startswith("file:"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)


def _format(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def _engine(url: URL, wait: float) -> Engine:
    engine = create_engine(url, poolclass=NullPool)
    # WAL: readers never wait for a writer. FULL: a commit that returned survives a power cut.
    pragmas = (f"busy_timeout = {int(wait * 1000)}", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")

    @event.listens_for(engine, "connect")
    def _set_up(connection: DBAPIConnection, _: object) -> None:
        connection.isolation_level = None  # the driver begins no transaction by itself; `_begin` does
        for pragma in pragmas:
            connection.cursor().execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # IMMEDIATE: what a writer reads stays true until it has written.
        writing = connection.get_execution_options().get(_WRITING, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine
