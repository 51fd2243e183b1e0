"""The differences between SQLite and PostgreSQL: opening, locking for writers, guards against changes."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from patchcore.adapters.ledger import postgresql_catalog as catalog
from patchcore.adapters.ledger.tables import metadata
from patchcore.errors import InvalidLedger

WRITING = "ledger_writing"
"""The execution option of a connection that adds rows."""

_ADVISORY_LOCK = 0x70617463686C6467  # an arbitrary number that other applications are unlikely to use

_SQLITE_OBJECTS = """SELECT CASE
    WHEN type = 'trigger' THEN 'guard'
    WHEN name IN (SELECT name FROM pragma_index_list(tbl_name) WHERE "unique") THEN 'unique index'
    WHEN name IN (SELECT name FROM pragma_index_list(tbl_name) WHERE partial) THEN 'conditional index'
    WHEN -2 IN (SELECT cid FROM pragma_index_xinfo(sqlite_master.name)) THEN 'computed index'
    ELSE type END, name, sql"""
"""Kind, name and definition of the objects in the schema; ``index`` is a plain index, which only affects speed."""


class Dialect(Protocol):
    """What the ledger needs of a database."""

    def open(self, url: URL, wait: float) -> Engine:
        """Return an engine with one writer at a time and commits that reach the disk.

        Args:
            url: The database.
            wait: The seconds that a writer waits for another one.
        """
        ...

    def expected_schema(self) -> dict[str, str]:
        """Return the definitions that the migrations make, by name: tables, rules, and guards that refuse changes."""
        ...

    def actual_schema(self, connection: Connection) -> dict[str, str]:
        """Return the definitions in a database, by name, of all that acts on the ledger's tables."""
        ...

    def tampering(self, connection: Connection) -> Iterator[str]:
        """Yield one sentence per fault that the database's own checks find, or setting that could hide records."""
        ...

    def without_guards(self, connection: Connection, table: str) -> AbstractContextManager[None]:
        """Allow rows of a table to be deleted inside this transaction; only the owner of the table may do this."""
        ...

    def try_to_write(self, connection: Connection) -> None:
        """Raise the database's error if this connection may not add records."""
        ...


class Sqlite:
    """SQLite: one file in write-ahead mode, so readers never wait for a writer."""

    def open(self, url: URL, wait: float) -> Engine:
        """Return an engine; make the folder of the file."""
        if not (path := url.database or "").startswith("file:"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, poolclass=NullPool)
        # FULL: a commit that has returned survives a power failure.
        pragmas = (
            f"busy_timeout = {int(wait * 1000)}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        )

        @event.listens_for(engine, "connect")
        def _set_up(connection: DBAPIConnection, _: object) -> None:
            connection.isolation_level = None  # `_begin` starts transactions, not the driver
            for pragma in pragmas:
                connection.cursor().execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            # IMMEDIATE: no other writer changes what this writer has read.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if _is_writing(connection) else "BEGIN")

        return engine

    def expected_schema(self) -> dict[str, str]:
        """Return the schema that the migrations make in a new database."""
        from patchcore.adapters.ledger.migrations import upgrade

        with create_engine("sqlite://", poolclass=NullPool).begin() as connection:
            upgrade(connection)
            return self.actual_schema(connection)

    def actual_schema(self, connection: Connection) -> dict[str, str]:
        """Return the statements that made the objects; SQLite keeps their text."""
        # SQLite compares table names without case, but keeps the case in the schema.
        query = f"{_SQLITE_OBJECTS} FROM sqlite_master WHERE sql IS NOT NULL AND lower(tbl_name) IN "
        found = connection.exec_driver_sql(query + _listed(metadata.tables))
        return {f"{kind} {name}": statement for kind, name, statement in found}

    def tampering(self, connection: Connection) -> Iterator[str]:
        """Yield the results of SQLite's own checks."""
        for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if line != "ok":
                yield f"SQLite: {line}"
        for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            yield f"{table} {row} refers to a record that is not in {parent}"

    @contextmanager
    def without_guards(self, connection: Connection, table: str) -> Iterator[None]:
        """Drop the trigger, and create it again after the block."""
        name = f"{table}_no_delete"
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
        yield
        connection.exec_driver_sql(self.expected_schema()[f"guard {name}"])

    def try_to_write(self, connection: Connection) -> None:
        """Write the user version that is there already."""
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA user_version = {version}")


class PostgreSql:
    """PostgreSQL: writers take an advisory lock that ends with their transaction."""

    def open(self, url: URL, wait: float) -> Engine:
        """Return an engine; it connects when it is first used."""
        # The settings of the database or the role must not change how numbers and text are returned.
        settings = (f"lock_timeout={int(wait * 1000)}", "synchronous_commit=on", "timezone=UTC", "extra_float_digits=1")
        options = " ".join(f"-c {setting}" for setting in settings)
        arguments = {"options": options, "client_encoding": "UTF8"}
        arguments |= {"connect_timeout": "10", "application_name": "patchcore"}
        # pool_pre_ping replaces connections that a restarted server closed.
        engine = create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=arguments)

        @event.listens_for(engine, "connect")
        def _set_up(connection: DBAPIConnection, _: object) -> None:
            catalog.pin_search_path(connection)

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            if _is_writing(connection):  # no other writer changes what this writer reads from here on
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            else:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

        return engine

    def expected_schema(self) -> dict[str, str]:
        """Return the definitions that a server prints of the tables in a new ledger."""
        return catalog.expected_schema()

    def actual_schema(self, connection: Connection) -> dict[str, str]:
        """Return the definitions that this server prints, and whether triggers are enabled."""
        return catalog.actual_schema(connection)

    def tampering(self, connection: Connection) -> Iterator[str]:
        """Yield settings that could hide records, and incomplete indexes; the server itself checks references."""
        for problem in (*catalog.hidden_record_risks(connection), *catalog.incomplete_indexes(connection)):
            yield f"PostgreSQL: {problem}"

    @contextmanager
    def without_guards(self, connection: Connection, table: str) -> Iterator[None]:
        """Disable the trigger, and enable it again after the block."""
        connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER {table}_no_change")
        yield
        connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_no_change")

    def try_to_write(self, connection: Connection) -> None:
        """Insert a row and roll it back."""
        connection.exec_driver_sql("SAVEPOINT attempt")
        row = "SELECT coalesce(max(sequence), 0) + 1, 'attempt', ''::bytea, ''::bytea, ''::bytea FROM chain"
        connection.exec_driver_sql(f"INSERT INTO chain {row}")
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT attempt")


def database_of(url: str) -> tuple[URL, Dialect]:
    """Return the parsed URL of a ledger and the dialect of its database.

    Raises:
        InvalidLedger: The text is not a URL, or the database is not supported.
    """
    remedy = "set PATCHCORE_LEDGER_URL to sqlite:////absolute/path/ledger.db or postgresql://user@host/database"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InvalidLedger(
            "PATCHCORE_LEDGER_URL", got="text that is not a URL", expected="an SQLAlchemy URL", remedy=remedy
        ) from error
    name = parsed.render_as_string(hide_password=True)
    kinds: dict[str, Dialect] = {"sqlite": Sqlite(), "postgresql": PostgreSql()}
    if (backend := parsed.get_backend_name()) not in kinds:
        raise InvalidLedger(f"ledger {name}", got=backend, expected=" or ".join(kinds), remedy=remedy)
    in_memory = parsed.database in {None, "", ":memory:"} or "memory" in parsed.query.values()
    if backend == "sqlite" and in_memory:
        raise InvalidLedger(f"ledger {name}", got="a database in memory", expected="a database on disk", remedy=remedy)
    return parsed, kinds[backend]


def _is_writing(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(WRITING, False))


def _listed(names: Iterable[str]) -> str:
    return "(" + ", ".join(f"'{name}'" for name in names) + ")"
