"""What somebody does to a ledger who owns its database: the guards are lifted, the change is made, the guards stand."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text

from patchcore.adapters.ledger_database import Database


class Owner:
    """The owner of a ledger's database, who is not stopped by what the application made there."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, wait=30)

    def run(self, *statements: str) -> None:
        """Carry out statements with every guard lifted; references are not checked either."""
        with self.at_work() as connection:
            for statement in statements:
                connection.execute(text(statement))

    def rows(self, query: str) -> Sequence[Any]:
        """Return the rows of a query."""
        with self.database._engine.connect() as connection:
            return connection.execute(text(query)).all()

    @contextmanager
    def at_work(self) -> Iterator[Connection]:
        """Yield a connection that nothing refuses."""
        with self.database._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET session_replication_role = replica")
                connection.commit()
                connection.execution_options(ledger_writing=True)
                with connection.begin():
                    yield connection
            else:
                connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
                connection.commit()
                connection.execution_options(ledger_writing=True)
                with connection.begin():
                    guards = dict(self.database.kind.standing_guards(connection))
                    for name in guards:
                        connection.exec_driver_sql(f"DROP TRIGGER {name}")
                    yield connection
                    for statement in guards.values():
                        connection.exec_driver_sql(statement)
