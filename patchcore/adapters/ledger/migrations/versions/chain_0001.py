"""The chained tables; what a ledger of format 1, before there was a chain, holds is carried over into them."""

import json
from typing import Any

from alembic import op
from sqlalchemy import Connection

from patchcore.adapters.ledger.append import append
from patchcore.adapters.ledger.migrations import statements

revision = "0001"
down_revision = None

_FORMAT_1 = ("images", "batches", "decisions", "banks", "datasets")  # each before those that it refers to


def upgrade() -> None:
    """Make the tables."""
    connection = op.get_bind()
    earlier = _take_out(connection)
    for statement in statements(f"chain_0001.{connection.dialect.name}.sql"):
        connection.exec_driver_sql(statement)
    _carry_over(connection, earlier)


def _take_out(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Remove the tables of format 1, and return their rows."""
    if connection.dialect.name != "sqlite" or connection.exec_driver_sql("PRAGMA user_version").scalar_one() != 1:
        return {name: [] for name in _FORMAT_1}
    rows = {name: _rows(connection, name) for name in _FORMAT_1}
    for name in _FORMAT_1:
        connection.exec_driver_sql(f"DROP TABLE {name}")  # its triggers and indexes with it
    return rows


def _rows(connection: Connection, table: str) -> list[dict[str, Any]]:
    query = f"SELECT * FROM {table} ORDER BY id"  # noqa: S608 - our own words
    return [_values(dict(row)) for row in connection.exec_driver_sql(query).mappings()]


def _values(row: dict[str, Any]) -> dict[str, Any]:
    parsed: dict[str, Any] = {name: json.loads(row[name]) for name in ("pointers", "verdict") if name in row}
    return row | parsed


def _carry_over(connection: Connection, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Add the rows of format 1 in the order in which they came; a batch takes its images along."""
    run_of = {(bank["category"], bank["version"]): bank["run_id"] for bank in rows["banks"]}
    images: dict[int, list[dict[str, Any]]] = {}
    for image in rows["images"]:
        images.setdefault(image["batch_id"], []).append(image)
    kinds = ("datasets", "banks", "decisions", "batches")
    records = ((record["at"], rank, record) for rank, kind in enumerate(kinds) for record in rows[kind])
    for _, rank, record in sorted(records, key=lambda entry: entry[:2]):
        identity = record.pop("id")
        if kinds[rank] == "batches":
            record |= {"scoring": 1, "run_id": run_of[record["category"], record["bank_version"]]}
        (sequence,) = append(connection, kinds[rank], [record])
        if kinds[rank] == "batches":
            append(connection, "images", [_image(image, sequence) for image in images.get(identity, [])])


def _image(row: dict[str, Any], scored_batch: int) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if name not in {"id", "batch_id"}}
    return {**kept, "scored_batch": scored_batch}
