"""What the owner of a database can do to a ledger: remove the guards, change records, restore the guards."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text

from patchcore.adapters.ledger.database import Database

GUARDS = "SELECT tgrelid::regclass, tgname FROM pg_trigger WHERE NOT tgisinternal"


class Owner:
    """The owner of a ledger's database, who is not stopped by what the application made there."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, wait=30)

    def run(self, *statements: str) -> None:
        """Carry out statements with every guard lifted; references are not checked either."""
        with self.at_work() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def alter(self, *statements: str) -> None:
        """Carry out statements that alter the database itself, with its guards as they are."""
        with self.database.writing() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def rows(self, query: str) -> Sequence[Any]:
        """Return the rows of a query."""
        with self.database._engine.connect() as connection:
            return connection.execute(text(query)).all()

    @contextmanager
    def at_work(self, *, checks: bool = True) -> Iterator[Connection]:
        """Yield a connection without guards; without ``checks`` the rules of a table do not apply either."""
        with self.database._engine.connect() as connection:
            lift = _lift_postgresql if connection.dialect.name == "postgresql" else _lift_sqlite
            with lift(connection, checks):
                yield connection


@contextmanager
def _lift_postgresql(connection: Connection, checks: bool) -> Iterator[None]:
    connection.execution_options(ledger_writing=True)
    with connection.begin():
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # no reference is checked
        guards = connection.exec_driver_sql(GUARDS).all()
        for table, name in guards:  # a replica keeps to them too
            connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
        rules = "SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0"
        for table, name in () if checks else connection.exec_driver_sql(rules).all():
            connection.exec_driver_sql(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        yield
        for table, name in guards:
            connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
        if not checks:
            connection.get_transaction().rollback()  # type: ignore[union-attr]  # it has begun above


@contextmanager
def _lift_sqlite(connection: Connection, checks: bool) -> Iterator[None]:
    driver = connection.connection.driver_connection  # below SQLAlchemy, which would begin a transaction
    assert driver is not None
    driver.execute("PRAGMA foreign_keys = OFF")
    driver.execute(f"PRAGMA ignore_check_constraints = {'OFF' if checks else 'ON'}")
    connection.execution_options(ledger_writing=True)
    with connection.begin():
        triggers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        guards = connection.exec_driver_sql(triggers).all()
        for name, _ in guards:
            connection.exec_driver_sql(f"DROP TRIGGER {name}")
        yield
        for _, statement in guards:
            connection.exec_driver_sql(statement)
