"""What differs between the databases of a ledger: how they open, how writers take turns, how they refuse changes."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, Engine, NullPool, Table, UniqueConstraint, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from patchcore.adapters.ledger.tables import metadata
from patchcore.errors import Refused

WRITING = "ledger_writing"
"""Execution option of a connection that is going to add rows."""

_REFUSAL = "the ledger is append-only"
_ADVISORY_LOCK = 0x70617463686C6467  # any number that nobody else takes in this database


class Kind(Protocol):
    """A kind of database."""

    def open(self, url: URL, wait: float) -> Engine:
        """Return an engine whose writers take turns, waiting so many seconds, and whose commits reach the disk."""
        ...

    def guards(self) -> Iterator[tuple[str, str]]:
        """Yield name and statement of everything that refuses changes, in the order in which it is made."""
        ...

    def standing_guards(self, connection: Connection) -> dict[str, str]:
        """Return name and statement of what refuses changes in a database, as far as it is on duty."""
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

    def guards(self) -> Iterator[tuple[str, str]]:
        """Yield the triggers of every table."""
        for table in metadata.sorted_tables:
            refuse = f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}: {table.name}'); END"
            for change in ("UPDATE", "DELETE"):
                name = f"{table.name}_no_{change.lower()}"
                yield name, f"CREATE TRIGGER {name} BEFORE {change} ON {table.name} {refuse}"
            # INSERT OR REPLACE removes the old row without asking a DELETE trigger.
            name = f"{table.name}_no_replace"
            yield name, f"CREATE TRIGGER {name} BEFORE INSERT ON {table.name} WHEN {_exists(table)} {refuse}"

    def standing_guards(self, connection: Connection) -> dict[str, str]:
        """Return the triggers that there are."""
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        return {row[0]: row[1] for row in connection.exec_driver_sql(query)}

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
        connection.exec_driver_sql(dict(self.guards())[name])

    def try_to_write(self, connection: Connection) -> None:
        """Write a number that is there already."""
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA user_version = {version}")


class PostgreSql:
    """A server: writers take turns by a lock that ends with their transaction."""

    _FUNCTION = "patchcore_refuse_change"
    _BODY = (
        f"BEGIN RAISE EXCEPTION USING MESSAGE = '{_REFUSAL}: ' || TG_TABLE_NAME, "
        "ERRCODE = 'integrity_constraint_violation'; END"
    )

    def open(self, url: URL, wait: float) -> Engine:
        """Return an engine; nothing is connected yet."""
        settings = f"-c lock_timeout={int(wait * 1000)} -c synchronous_commit=on -c timezone=UTC"
        arguments = {"options": settings, "connect_timeout": 10, "application_name": "patchcore"}
        # A connection that a restarted server closed is replaced unseen.
        engine = create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True, connect_args=arguments)

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            if _is_writing(connection):  # what a writer reads after this stays true until it has written
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
            else:
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

        return engine

    def guards(self) -> Iterator[tuple[str, str]]:
        """Yield the function that refuses, and the triggers that call it."""
        declared = f"CREATE FUNCTION {self._FUNCTION}() RETURNS trigger LANGUAGE plpgsql AS"
        yield self._FUNCTION, f"{declared} $${self._BODY}$$"
        for table in metadata.sorted_tables:
            for name, words in (("change", "UPDATE OR DELETE"), ("truncate", "TRUNCATE")):
                each = "STATEMENT" if name == "truncate" else "ROW"
                trigger = f"{table.name}_no_{name}"
                refuse = f"FOR EACH {each} EXECUTE FUNCTION {self._FUNCTION}()"
                yield trigger, f"CREATE TRIGGER {trigger} BEFORE {words} ON {table.name} {refuse}"

    def standing_guards(self, connection: Connection) -> dict[str, str]:
        """Return the function if it is what it should be, and the triggers that are enabled."""
        wanted = dict(self.guards())
        bodies = connection.exec_driver_sql(f"SELECT prosrc FROM pg_proc WHERE proname = '{self._FUNCTION}'").scalars()  # noqa: S608 - our own words
        found = {self._FUNCTION: wanted[self._FUNCTION]} if self._BODY in bodies.all() else {}
        query = (
            "SELECT tgname, tgrelid::regclass::text, tgtype FROM pg_trigger "  # noqa: S608 - our own words
            f"WHERE tgenabled IN ('O', 'A') AND tgfoid = to_regproc('{self._FUNCTION}')"
        )
        kinds = {
            "change": 27,
            "truncate": 34,
        }  # of pg_trigger.tgtype: before, each row, update, delete; before, truncate
        for name, table, kind in connection.exec_driver_sql(query):
            if any(name == f"{table}_no_{word}" and kind == number for word, number in kinds.items()):
                found[name] = wanted.get(name, "")
        return found

    def damage(self, connection: Connection) -> Iterator[str]:
        """Yield nothing: the server checks references when they are written, and pages when checksums are on."""
        yield from ()

    @contextmanager
    def without_guards(self, connection: Connection, table: str) -> Iterator[None]:
        """Switch the trigger off, and on again."""
        connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER {table}_no_change")
        yield
        connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE TRIGGER {table}_no_change")

    def try_to_write(self, connection: Connection) -> None:
        """Ask the server whether this role may add records, now."""
        connection.exec_driver_sql("SAVEPOINT attempt")
        row = "VALUES (9223372036854775807, 'attempt', ''::bytea, ''::bytea, ''::bytea)"
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


def _exists(table: Table) -> str:
    uniques = (constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint))
    keys = sorted([["sequence"], *([column.name for column in unique.columns] for unique in uniques)])
    same = (" AND ".join(f'"{column}" = NEW."{column}"' for column in key) for key in keys)
    return " OR ".join(f"EXISTS (SELECT 1 FROM {table.name} WHERE {condition})" for condition in same)  # noqa: S608 - our own words
