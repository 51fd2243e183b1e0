"""The ledger's tables, and what makes SQLite refuse to change them: rows are added, never altered, never removed."""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Dialect,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.dialects.sqlite import REAL

FORMAT = 1
"""Of the tables as a whole; kept in SQLite's user_version."""


class JsonText(TypeDecorator[Any]):
    """A JSON object as text, keys sorted: the same value is the same text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """Return the text of a value."""
        return json.dumps(value, sort_keys=True, allow_nan=False)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the value of a text."""
        return json.loads(value)


class Flag(TypeDecorator[bool]):
    """A truth value as 0 or 1: strict tables of SQLite know no BOOLEAN."""

    impl = Integer
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Dialect) -> bool | None:
        """Return the truth value of a number."""
        return None if value is None else bool(value)


def _exact_real() -> Any:
    return Double().with_variant(REAL(), "sqlite")  # 8 bytes: a score comes back bit by bit


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, CheckConstraint(f"{name} >= 0"), nullable=False)


def _version(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, Integer, CheckConstraint(f"{name} >= 1"), nullable=nullable)


# AUTOINCREMENT never gives an id twice, not even that of a removed row: a gap shows.
_OPTIONS: dict[str, Any] = {"sqlite_autoincrement": True, "sqlite_strict": True}
metadata = MetaData()

datasets = Table(
    "datasets",
    metadata,
    _id(),
    _text("category"),
    _version("number"),
    _text("sha256"),
    _count("normals"),
    _count("evaluation_images"),
    Column("pointers", JsonText, nullable=False),
    _text("git_commit", nullable=True),
    _text("who"),
    _text("at"),
    UniqueConstraint("category", "sha256"),
    UniqueConstraint("category", "number"),
    UniqueConstraint("category", "number", "sha256"),
    **_OPTIONS,
)


def _of_dataset() -> ForeignKeyConstraint:
    names = ("category", "number", "sha256")
    return ForeignKeyConstraint(["category", "dataset_version", "dataset_sha256"], [datasets.c[name] for name in names])


banks = Table(
    "banks",
    metadata,
    _id(),
    _text("category"),
    _version("version"),
    _text("sha256"),
    _version("dataset_version"),
    _text("dataset_sha256"),
    _text("run_id"),
    _text("git_commit", nullable=True),
    _text("at"),
    UniqueConstraint("category", "version"),
    UniqueConstraint("category", "version", "sha256"),
    _of_dataset(),
    **_OPTIONS,
)


def _of_bank(version: str) -> ForeignKeyConstraint:
    names = ("category", "version", "sha256")
    return ForeignKeyConstraint(["category", version, "bank_sha256"], [banks.c[name] for name in names])


decisions = Table(
    "decisions",
    metadata,
    _id(),
    _text("category"),
    Column("action", Text, CheckConstraint("action IN ('promote', 'refuse', 'rollback')"), nullable=False),
    _version("from_version", nullable=True),
    _version("to_version"),
    _text("bank_sha256"),
    _text("reason"),
    Column("forced", Flag, CheckConstraint("forced IN (0, 1)"), nullable=False),
    Column("verdict", JsonText, nullable=False),
    _text("who"),
    _text("at"),
    _of_bank("to_version"),
    Index("decisions_of_category", "category", "id"),
    **_OPTIONS,
)

batches = Table(
    "batches",
    metadata,
    _id(),
    _text("batch"),
    _text("category"),
    _version("bank_version"),
    _text("bank_sha256"),
    _version("dataset_version"),
    _text("dataset_sha256"),
    Column("threshold", _exact_real(), nullable=False),
    Column("false_alarm_rate", _exact_real(), nullable=False),
    _text("images_sha256"),
    _count("received"),
    _count("scored"),
    _count("failed"),
    _text("runtime"),
    _text("code_version"),
    _text("who"),
    _text("scored_at"),
    _text("flow_run_id", nullable=True),
    _text("at"),
    UniqueConstraint("batch"),
    CheckConstraint("received = scored + failed"),
    _of_bank("bank_version"),
    _of_dataset(),
    Index("batches_of_bank", "category", "bank_version"),
    **_OPTIONS,
)

images = Table(
    "images",
    metadata,
    _id(),
    Column("batch_id", Integer, nullable=False),
    _text("path"),
    _text("sha256", nullable=True),
    Column("score", _exact_real()),
    Column("p_value", _exact_real(), CheckConstraint("p_value BETWEEN 0 AND 1")),
    Column("anomalous", Flag, CheckConstraint("anomalous IN (0, 1)")),
    _text("reason", nullable=True),
    UniqueConstraint("batch_id", "path"),
    ForeignKeyConstraint(["batch_id"], [batches.c.id]),
    CheckConstraint("(score IS NULL) = (reason IS NOT NULL)"),
    CheckConstraint("(score IS NULL) = (p_value IS NULL) AND (score IS NULL) = (anomalous IS NULL)"),
    CheckConstraint("sha256 IS NOT NULL OR reason IS NOT NULL"),
    Index("images_by_sha256", "sha256"),
    **_OPTIONS,
)


def triggers() -> Iterator[tuple[str, str]]:
    """Yield name and statement of each trigger that keeps a table append-only."""
    for table in metadata.sorted_tables:
        refuse = f"BEGIN SELECT RAISE(ABORT, 'the ledger is append-only: {table.name}'); END"
        for change in ("UPDATE", "DELETE"):
            name = f"{table.name}_no_{change.lower()}"
            yield name, f"CREATE TRIGGER {name} BEFORE {change} ON {table.name} {refuse}"
        # INSERT OR REPLACE removes the old row without asking a DELETE trigger.
        name = f"{table.name}_no_replace"
        yield name, f"CREATE TRIGGER {name} BEFORE INSERT ON {table.name} WHEN {_exists(table)} {refuse}"


def _exists(table: Table) -> str:
    uniques = (constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint))
    keys = sorted([["id"], *([column.name for column in unique.columns] for unique in uniques)])
    same = (" AND ".join(f"{column} = NEW.{column}" for column in key) for key in keys)
    return " OR ".join(f"EXISTS (SELECT 1 FROM {table.name} WHERE {condition})" for condition in same)  # noqa: S608 - our own words


def make_tables(connection: Connection) -> None:
    """Make tables, indexes and triggers in a database that has none, inside the caller's transaction."""
    metadata.create_all(connection)
    for _, statement in triggers():
        connection.exec_driver_sql(statement)
    connection.exec_driver_sql(f"PRAGMA user_version = {FORMAT}")
