"""What differs between the databases of a ledger: how they open, how writers take turns, how they refuse changes."""

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
from patchcore.errors import Refused

WRITING = "ledger_writing"
"""Execution option of a connection that is going to add rows."""

_ADVISORY_LOCK = 0x70617463686C6467  # any number that nobody else takes in this database

_SQLITE_PRINT = """SELECT CASE
    WHEN type = 'trigger' THEN 'guard'
    WHEN name IN (SELECT name FROM pragma_index_list(tbl_name) WHERE "unique") THEN 'unique index'
    WHEN name IN (SELECT name FROM pragma_index_list(tbl_name) WHERE partial) THEN 'conditional index'
    WHEN -2 IN (SELECT cid FROM pragma_index_xinfo(sqlite_master.name)) THEN 'computed index'
    ELSE type END, name, sql"""
"""Kind, name and definition; an index that is no more than quick is just that."""


class Kind(Protocol):
    """A kind of database."""

    def open(self, url: URL, wait: float) -> Engine:
        """Return an engine whose writers take turns, waiting so many seconds, and whose commits reach the disk."""
        ...

    def made(self) -> dict[str, str]:
        """Return name and definition of all that the migrations make: tables, rules, and guards that refuse changes."""
        ...

    def standing(self, connection: Connection) -> dict[str, str]:
        """Return the same of what there is in a database, and of whatever else acts on the ledger's tables."""
        ...

    def damage(self, connection: Connection) -> Iterator[str]:
        """Yield what the database itself finds wrong with its files and references."""
        ...

    def without_guards(self, connection: Connection, table: str) -> AbstractContextManager[None]:
        """Let rows be removed from a table inside this transaction, as only its owner may."""
        ...

    def try_to_write(self, connection: Connection) -> None:
        """Do what only a connection can that may add records."""
        ...


class Sqlite:
    """One file, in write-ahead mode: readers never wait for a writer."""

    def open(self, url: URL, wait: float) -> Engine:
        """Return an engine; the file's folder is made."""
        if not (path := url.database or "").startswith("file:"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, poolclass=NullPool)
        # FULL: a commit that returned survives a power cut.
        pragmas = (
            f"busy_timeout = {int(wait * 1000)}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
        )

        @event.listens_for(engine, "connect")
        def _set_up(connection: DBAPIConnection, _: object) -> None:
            connection.isolation_level = None  # the driver begins no transaction by itself; `_begin` does
            for pragma in pragmas:
                connection.cursor().execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            # IMMEDIATE: what a writer reads stays true until it has written.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if _is_writing(connection) else "BEGIN")

        return engine

    def made(self) -> dict[str, str]:
        """Return what the migrations make in a new database."""
        from patchcore.adapters.ledger.migrations import upgrade

        with create_engine("sqlite://", poolclass=NullPool).begin() as connection:
            upgrade(connection)
            return self.standing(connection)

    def standing(self, connection: Connection) -> dict[str, str]:
        """Return the statements, which SQLite keeps as they were given."""
        # To SQLite a table's name is the same in any case; what is made on it keeps the case in which it was given.
        query = f"{_SQLITE_PRINT} FROM sqlite_master WHERE sql IS NOT NULL AND lower(tbl_name) IN "
        found = connection.exec_driver_sql(query + _listed(metadata.tables))
        return {f"{kind} {name}": statement for kind, name, statement in found}

    def damage(self, connection: Connection) -> Iterator[str]:
        """Yield what SQLite's own checks find."""
        for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
            if line != "ok":
                yield f"SQLite: {line}"
        for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
            yield f"{table} {row} names a record that is not in {parent}"

    @contextmanager
    def without_guards(self, connection: Connection, table: str) -> Iterator[None]:
        """Take the trigger away, and make it again."""
        name = f"{table}_no_delete"
        connection.exec_driver_sql(f"DROP TRIGGER {name}")
        yield
        connection.exec_driver_sql(self.made()[f"guard {name}"])

    def try_to_write(self, connection: Connection) -> None:
        """Write a number that is there already."""
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA user_version = {version}")


class PostgreSql:
    """A server: writers take turns by a lock that ends with their transaction."""

    def open(self, url: URL, wait: float) -> Engine:
        """Return an engine; nothing is connected yet."""
        # What the database or the role is set to has no say in how numbers and text come back.
        settings = (f"lock_timeout={int(wait * 1000)}", "synchronous_commit=on", "timezone=UTC", "extra_float_digits=1")
        options = " ".join(f"-c {setting}" for setting in settings)
        arguments = {"options": options, "client_encoding": "UTF8"}
        arguments |= {"connect_timeout": "10", "application_name": "patchcore"}
        # A connection that a restarted server closed is replaced unseen.
        engine = create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=arguments)

        @event.listens_for(engine, "connect")
        def _set_up(connection: DBAPIConnection, _: object) -> None:
            catalog.look_nowhere_else(connection)

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            if _is_writing(connection):  # what a writer reads after this stays true until it has written
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            else:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

        return engine

    def made(self) -> dict[str, str]:
        """Return what a server prints of the tables that the migrations made."""
        return catalog.printed()

    def standing(self, connection: Connection) -> dict[str, str]:
        """Return what this server prints of the tables, of what acts on them, and whether it is switched on."""
        return catalog.standing(connection)

    def damage(self, connection: Connection) -> Iterator[str]:
        """Yield what misleads the server; it checks references when they are written, pages when checksums are on."""
        for problem in (*catalog.misled(connection), *catalog.incomplete_indexes(connection)):
            yield f"PostgreSQL: {problem}"

    @contextmanager
    def without_guards(self, connection: Connection, table: str) -> Iterator[None]:
        """Switch the trigger off, and on again."""
        connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER {table}_no_change")
        yield
        connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_no_change")

    def try_to_write(self, connection: Connection) -> None:
        """Ask the server whether this role may add records, now."""
        connection.exec_driver_sql("SAVEPOINT attempt")
        row = "SELECT coalesce(max(sequence), 0) + 1, 'attempt', ''::bytea, ''::bytea, ''::bytea FROM chain"
        connection.exec_driver_sql(f"INSERT INTO chain {row}")
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT attempt")


def database_of(url: str) -> tuple[URL, Kind]:
    """Return a URL and the kind of database that it names.

    Raises:
        Refused: it is no URL, or that of a database that is not supported.
    """
    remedy = "set PATCHCORE_LEDGER_URL to sqlite:////absolute/path/ledger.db or postgresql://user@host/database"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise Refused("PATCHCORE_LEDGER_URL", got="no URL", expected="an SQLAlchemy URL", remedy=remedy) from error
    name = parsed.render_as_string(hide_password=True)
    kinds: dict[str, Kind] = {"sqlite": Sqlite(), "postgresql": PostgreSql()}
    if (backend := parsed.get_backend_name()) not in kinds:
        raise Refused(f"ledger {name}", got=backend, expected=" or ".join(kinds), remedy=remedy)
    in_memory = parsed.database in {None, "", ":memory:"} or "memory" in parsed.query.values()
    if backend == "sqlite" and in_memory:
        raise Refused(f"ledger {name}", got="a database in memory", expected="one that lasts", remedy=remedy)
    return parsed, kinds[backend]


def _is_writing(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get(WRITING, False))


def _listed(names: Iterable[str]) -> str:
    return "(" + ", ".join(f"'{name}'" for name in names) + ")"
