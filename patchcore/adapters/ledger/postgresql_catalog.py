"""What a PostgreSQL server reports about the ledger's tables: definitions, what acts on them, and hidden records.

All names are qualified with their schema, so that no foreign function or type is used in place of the server's own; see
printed.postgresql.sql.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPIConnection

from patchcore.adapters.ledger.tables import metadata
from patchcore.errors import InvalidLedger

FOLDER = Path(__file__).parent / "migrations"

_OURS = f"""WITH ours AS (SELECT * FROM pg_catalog.pg_class WHERE pg_catalog.pg_table_is_visible(oid)
    AND relname IN ({", ".join(f"'{name}'" for name in metadata.tables)}))"""  # noqa: S608 - our own words
_INDEXES = """SELECT indexrelid::pg_catalog.regclass::pg_catalog.text, indrelid::pg_catalog.regclass::pg_catalog.text,
    pg_catalog.pg_get_indexdef(indexrelid, 0, true), pg_catalog.pg_get_expr(indpred, indrelid),
    ARRAY(SELECT pg_catalog.pg_get_indexdef(indexrelid, place, true)
        FROM pg_catalog.generate_series(1, indnkeyatts::pg_catalog.int4) AS place)
    FROM ours JOIN pg_catalog.pg_index ON indrelid = ours.oid WHERE indisvalid AND indexprs IS NULL"""
"""The indexes that queries can use: name, table, definition, condition, keys."""

_SCHEMA = """SELECT pg_catalog.current_setting('server_encoding'), pg_catalog.quote_ident(coalesce(
    (SELECT nspname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace
    ON pg_namespace.oid OPERATOR(pg_catalog.=) relnamespace
    WHERE pg_class.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('chain')), pg_catalog.current_schema()))"""
"""The schema of the ledger's tables; if there are none yet, the schema where they would be made."""

_COMPARISONS = """SELECT oid::pg_catalog.regoperator::pg_catalog.text FROM pg_catalog.pg_operator
    WHERE oprnamespace <> 'pg_catalog'::pg_catalog.regnamespace::pg_catalog.oid
    AND pg_catalog.pg_operator_is_visible(oid) AND oprname IN ('=', '<>', '<', '<=', '>', '>=')
    AND oprleft < 16384::pg_catalog.oid AND oprright < 16384::pg_catalog.oid"""
"""Foreign comparison operators for built-in types. Built-in objects have object identifiers below 16384."""

_BY_TABLE = ("enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan")
_BY_INDEX = ("enable_seqscan", "enable_bitmapscan", "enable_sort", "enable_incremental_sort")


def pin_search_path(connection: DBAPIConnection) -> None:
    """Restrict the search path of a new session to the server's own schema and the ledger's.

    Another schema in the search path of the database or the role could hold operators that hide records.

    Raises:
        InvalidLedger: The database has no character encoding.
    """
    cursor = connection.cursor()
    cursor.execute(_SCHEMA)
    encoding, schema = cursor.fetchone()  # type: ignore[misc]  # there is one
    if encoding == "SQL_ASCII":
        raise InvalidLedger(
            "the ledger's database",
            got="encoding SQL_ASCII, which accepts any bytes as text",
            expected="UTF8",
            remedy="create a database with: CREATE DATABASE patchcore ENCODING 'UTF8' TEMPLATE template0",
        )
    if schema is not None:  # pg_temp comes first unless it is listed, and tables would be made there
        cursor.execute("SELECT pg_catalog.set_config('search_path', %s, false)", (f"{schema}, pg_temp",))
    cursor.close()
    connection.commit()


def expected_schema() -> dict[str, str]:
    """Return the definitions that a server prints of the tables in a new ledger.

    They are kept in a file, because a read-only transaction cannot create tables to compare with.
    """
    found: dict[str, str] = json.loads((FOLDER / "printed.postgresql.json").read_text(encoding="utf-8"))
    return found


def actual_schema(connection: Connection) -> dict[str, str]:
    """Return the definitions that this server prints of the tables and of what acts on them."""
    queries = (FOLDER / "printed.postgresql.sql").read_text(encoding="utf-8").split("\n\n")[1:]
    rows = (row for query in queries for row in connection.exec_driver_sql(f"{_OURS}\n{query}"))
    return {row[0]: row[1] for row in rows}


def hidden_record_risks(connection: Connection) -> Iterator[str]:
    """Yield settings that switch checks off or could show other records than the ledger's, and foreign operators."""
    replication = _setting(connection, "session_replication_role")
    if replication != "origin":
        yield f"session_replication_role is {replication}: the database does not check references between records"
    path = _setting(connection, "search_path")
    names = [name.strip(' "') for name in path.split(",")]
    if "pg_catalog" in names[1:] or any(name.startswith("pg_temp") for name in names[:-1]):
        yield f"search_path is {path}: other programs could be shown other records than the ledger's"
    for operator in connection.exec_driver_sql(_COMPARISONS).scalars():
        yield f"operator {operator} is not built in: queries could leave records out"


def _setting(connection: Connection, name: str) -> str:
    """Return the value of a setting at the start of a session."""
    query = f"SELECT reset_val FROM pg_catalog.pg_settings WHERE name = '{name}'"  # noqa: S608 - our own words
    return str(connection.exec_driver_sql(query).scalar_one())


def incomplete_indexes(connection: Connection) -> Iterator[str]:
    """Yield the indexes that do not cover every row: queries that use them leave rows out.

    An index that was switched off while rows were added is incomplete. The rows are counted once by the index and once
    without it. Foreign indexes with a condition are skipped: evaluating the condition could run foreign code.
    """
    ours = set(expected_schema().values())
    for index, table, definition, condition, keys in connection.exec_driver_sql(f"{_OURS} {_INDEXES}").all():
        if condition is None or definition in ours:
            rows = f"SELECT 1 FROM {table} WHERE {condition or 'true'}"  # noqa: S608 - as the server prints it
            found = _count(connection, f"{rows} ORDER BY {', '.join(keys)}", without=_BY_INDEX)
            there = _count(connection, rows, without=_BY_TABLE)
            if found != there:
                yield f"index {index} covers {found} of {there} rows of {table}: run REINDEX INDEX {index}"


def _count(connection: Connection, rows: str, without: tuple[str, ...]) -> int:
    """Count rows with some of the planner's methods switched off."""
    with connection.begin_nested() as attempt:
        connection.exec_driver_sql(";".join(f"SET LOCAL {setting} = off" for setting in without))
        number: int = connection.exec_driver_sql(f"SELECT count(*) FROM ({rows}) AS row").scalar_one()  # noqa: S608
        attempt.rollback()
    return number
