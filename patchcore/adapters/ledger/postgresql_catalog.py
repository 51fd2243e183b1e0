"""What a PostgreSQL server says of the ledger's tables: their definitions, what acts on them, and whether it may lie.

Names are looked up so that nothing of somebody else's is taken for the server's own; see printed.postgresql.sql.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection

from patchcore.adapters.ledger.tables import metadata
from patchcore.errors import Refused

FOLDER = Path(__file__).parent / "migrations"

_OURS = f"""WITH ours AS (SELECT * FROM pg_catalog.pg_class WHERE pg_catalog.pg_table_is_visible(oid)
    AND relname IN ({", ".join(f"'{name}'" for name in metadata.tables)}))"""  # noqa: S608 - our own words
_INDEXES = """SELECT indexrelid::pg_catalog.regclass::pg_catalog.text, indrelid::pg_catalog.regclass::pg_catalog.text,
    pg_catalog.pg_get_indexdef(indexrelid, 0, true), pg_catalog.pg_get_expr(indpred, indrelid),
    ARRAY(SELECT pg_catalog.pg_get_indexdef(indexrelid, place, true)
        FROM pg_catalog.generate_series(1, indnkeyatts::pg_catalog.int4) AS place)
    FROM ours JOIN pg_catalog.pg_index ON indrelid = ours.oid WHERE indisvalid AND indexprs IS NULL"""
"""Indexes that queries use: name, table, definition, condition, keys."""

_SCHEMA = """SELECT pg_catalog.current_setting('server_encoding'), pg_catalog.quote_ident(coalesce(
    (SELECT nspname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace
    ON pg_namespace.oid OPERATOR(pg_catalog.=) relnamespace
    WHERE pg_class.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('chain')), pg_catalog.current_schema()))"""
"""The schema of the ledger's tables; where there are none yet, the one that they would be made in."""

_COMPARISONS = """SELECT oid::pg_catalog.regoperator::pg_catalog.text FROM pg_catalog.pg_operator
    WHERE oprnamespace <> 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid
    AND pg_catalog.pg_operator_is_visible(oid) AND oprname IN ('=', '<>', '<', '<=', '>', '>=')
    AND oprleft < 16384::pg_catalog.oid AND oprright < 16384::pg_catalog.oid"""
"""Operators that compare types of the server's own, whose numbers are below 16384, and are none of the server's own."""

_BY_TABLE = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan")
_BY_INDEX = ("enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_incremental_sort")


def look_nowhere_else(connection: DBAPIConnection) -> None:
    """Let a new session look names up in the server's schema and in the ledger's, and in no other.

    A schema that the search path of the database or the role names besides could hold operators that hide records.

    Raises:
        Refused: the database does not know which characters its bytes are.
    """
    cursor = connection.cursor()
    cursor.execute(_SCHEMA)
    encoding, schema = cursor.fetchone()  # type: ignore[misc]  # there is one
    if encoding == "SQL_ASCII":
        raise Refused(
            "the ledger's database",
            got="encoding SQL_ASCII, which takes any bytes for text",
            expected="UTF8",
            remedy="make one: CREATE DATABASE patchcore ENCODING 'UTF8' TEMPLATE template0",
        )
    if schema is not None:  # else a table would be made in pg_temp, which comes first where it is not named
        cursor.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (f"{schema}, pg_temp",))
    cursor.close()
    connection.commit()


def printed() -> dict[str, str]:
    """Return what a server prints of the tables that the migrations made.

    It is kept in a file, for nobody could make tables to compare with in a transaction that only reads.
    """
    found: dict[str, str] = json.loads((FOLDER / "printed.postgresql.json").read_text(encoding="utf-8"))
    return found


def standing(connection: Connection) -> dict[str, str]:
    """Return what this server prints of the tables, of what acts on them, and whether it is switched on."""
    queries = (FOLDER / "printed.postgresql.sql").read_text(encoding="utf-8").split("\n\n")[1:]
    rows = (row for query in queries for row in connection.exec_driver_sql(f"{_OURS}\n{query}"))
    return {row[0]: row[1] for row in rows}


def misled(connection: Connection) -> Iterator[str]:
    """Yield what keeps the database from checking, or may show others or us other records than the ledger's."""
    replication = _setting(connection, "session_replication_role")
    if replication != "origin":
        yield f"session_replication_role is {replication}: the database does not check what records refer to"
    path = _setting(connection, "search_path")
    names = [name.strip(' "') for name in path.split(",")]
    if "pg_catalog" in names[1:] or any(name.startswith("pg_temp") for name in names[:-1]):
        yield f"search_path is {path}: other programs may be shown other records than the ledger's"
    for operator in connection.exec_driver_sql(_COMPARISONS).scalars():
        yield f"operator {operator} is none of the server's: queries may leave records out"


def _setting(connection: Connection, name: str) -> str:
    """Return what a session starts with."""
    query = f"SELECT reset_val FROM pg_catalog.pg_settings WHERE name = '{name}'"  # noqa: S608 - our own words
    return str(connection.exec_driver_sql(query).scalar_one())


def incomplete_indexes(connection: Connection) -> Iterator[str]:
    """Yield which indexes do not lead to every row: queries that use them leave rows out.

    Somebody may have switched an index off while rows were added. Each is counted along, in the order that it alone
    gives cheaply; one that is not an index of ours has no condition, which would be a function of somebody's.
    """
    ours = set(printed().values())
    for index, table, definition, condition, keys in connection.exec_driver_sql(f"{_OURS} {_INDEXES}").all():
        if condition is None or definition in ours:
            rows = f"SELECT 1 FROM {table} WHERE {condition or 'true'}"  # noqa: S608 - as the server prints it
            found = _count(connection, f"{rows} ORDER BY {', '.join(keys)}", without=_BY_INDEX)
            there = _count(connection, rows, without=_BY_TABLE)
            if found != there:
                yield f"index {index} leads to {found} of {there} rows of {table}: run REINDEX INDEX {index}"


def _count(connection: Connection, rows: str, without: tuple[str, ...]) -> int:
    """Count rows without some ways to find them."""
    with connection.begin_nested() as attempt:
        connection.exec_driver_sql(";".join(f"SET LOCAL {setting} = off" for setting in without))
        number: int = connection.exec_driver_sql(f"SELECT count(*) FROM ({rows}) AS row").scalar_one()  # noqa: S608
        attempt.rollback()
    return number
