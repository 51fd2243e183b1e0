"""Reading records for an export, and moving images to an archive."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Double, Integer, TypeDecorator, and_, or_, select, type_coerce

from patchcore.adapters.ledger.append import content_columns
from patchcore.adapters.ledger.database import LedgerRepository, add_record, all_records
from patchcore.adapters.ledger.evidence_records import Archive
from patchcore.adapters.ledger.tables import (
    KINDS,
    archives,
    banks,
    batches,
    chain,
    datasets,
    decisions,
    events,
    images,
    members,
    overrides,
)
from patchcore.adapters.ledger.times import now
from patchcore.errors import RecordRefused, UnknownBatch
from patchcore.evidence.export import CHAIN, LINK_COLUMNS, Table
from patchcore.evidence.export_tables import Columns, ColumnType

_AT_ONCE = 5000  # rows per fetch: limits memory
_Conditions = Mapping[str, ColumnElement[bool] | None]


class Exports(LedgerRepository):
    """Exports and archives."""

    @contextmanager
    def tables(
        self, batch: str | None = None, up_to: int | None = None, event: int | None = None
    ) -> Iterator[dict[str, Table]]:
        """Yield the tables of an export of one state of the ledger: all records, or those that a batch depends on.

        A batch depends on all its scorings with images and overrides, their banks with the decisions about them, the
        data-set versions that the banks were built from, and the lists of their images.

        Args:
            batch: Only this batch and the records that it depends on.
            up_to: Only records up to this sequence.
            event: The sequence of the event that records the export of the batch; it is exported, too.

        Raises:
            UnknownBatch: There is no such batch.
        """
        with self._database.reading() as connection:
            chosen: _Conditions = dict.fromkeys(KINDS) if batch is None else _of_batch(connection, batch, up_to)
            conditions = {kind: _limited(KINDS[kind], chosen[kind], up_to) for kind in chosen}
            links = None if batch is None else or_(*_linked(connection, batch, conditions))
            links = _limited(chain, links, up_to)
            if batch is not None:
                conditions["events"] = events.c.sequence == (event or 0)
                links = or_(links, chain.c.sequence == (event or 0))  # type: ignore[arg-type]
            tables = {kind: _table(connection, kind, condition) for kind, condition in conditions.items()}
            yield {CHAIN: _links(connection, links), **tables}

    def hash_of(self, sequence: int) -> str | None:
        """Return the hash of a record, 64 hexadecimal digits; None if there is no such record."""
        with self._database.reading() as connection:
            value = connection.scalar(select(chain.c.hash).where(chain.c.sequence == sequence))
        return None if value is None else bytes(value).hex()

    def hashes(self, size: int) -> list[bytes]:
        """Return the hashes of the first ``size`` records, 32 bytes each: the leaves of a checkpoint's Merkle tree."""
        with self._database.reading() as connection:
            query = select(chain.c.hash).where(chain.c.sequence <= size).order_by(chain.c.sequence)
            return [bytes(value) for value in connection.scalars(query)]

    @contextmanager
    def images_before(self, time: str) -> Iterator[tuple[int, int, Table] | None]:
        """Yield the images of all batches up to the first one that was recorded at or after a time.

        Args:
            time: The time in UTC, as the ledger writes it.

        Yields:
            The first and the last sequence, and the images; None if there are none.
        """
        with self._database.reading() as connection:
            later = select(batches.c.sequence).where(batches.c.at >= time).order_by(batches.c.sequence).limit(1)
            end = connection.scalar(later)
            wanted = select(images.c.sequence).order_by(images.c.sequence)
            before = wanted if end is None else wanted.where(images.c.sequence < end)
            first, last = (connection.scalar(query.limit(1)) for query in (before, _backwards(before)))
            if first is None or last is None:
                yield None
            else:
                yield first, last, _table(connection, "images", images.c.sequence.between(first, last))

    def archive(self, first: int, last: int, *, count: int, name: str, sha256: str, who: str) -> Archive:
        """Record an archive and delete its images from the ledger; their links in the chain stay.

        Args:
            first: The sequence of the first image.
            last: The sequence of the last image.
            count: The number of images in the archive.
            name: The name of the archive.
            sha256: The digest of its file.
            who: The user who moves the images.

        Raises:
            RecordRefused: The ledger holds another number of images than the archive.
            LedgerUnavailable: The database account may not lift the guards of the table; only its owner may.
        """
        values: dict[str, Any] = {
            "first": first,
            "last": last,
            "images": count,
            "name": name,
            "sha256": sha256,
            "who": who,
            "at": now(),
        }
        with self._database.writing() as connection:
            sequence = add_record(connection, "archives", values)
            with self._database.dialect.without_guards(connection, images.name):
                gone = connection.execute(images.delete().where(images.c.sequence.between(first, last))).rowcount
            if gone != count:
                raise RecordRefused(
                    f"images {first} to {last} are not archived",
                    got=f"{gone} in the ledger",
                    expected=f"{count}, as in the file {name}",
                    remedy="another command archived images at the same time: run the command again",
                )
        return Archive(sequence=sequence, **values)

    def archives(self) -> list[Archive]:
        """Return every archive, oldest first."""
        with self._database.reading() as connection:
            return all_records(connection, Archive, archives)


def columns_of(kind: str) -> Columns:
    """Return the columns of a kind of record in an export: ``sequence``, then the others sorted by name."""
    return {"sequence": "int64", **{column.name: _column_type(column) for column in content_columns(KINDS[kind])}}


def _column_type(column: Column[Any]) -> ColumnType:
    kind = column.type.impl if isinstance(column.type, TypeDecorator) else column.type
    return "int64" if isinstance(kind, Integer) else "float64" if isinstance(kind, Double) else "string"


def _table(connection: Connection, kind: str, condition: ColumnElement[bool] | None) -> Table:
    table, columns = KINDS[kind], columns_of(kind)
    # Stored values, not converted ones: the digest covers JSON as text, and truth values as numbers.
    stored = (_as_stored(table.c[name]) for name in columns)
    query = select(*stored).order_by(table.c.sequence)
    return Table(columns, _rows(connection, query if condition is None else query.where(condition)))


def _as_stored(column: Column[Any]) -> ColumnElement[Any]:
    return type_coerce(column, column.type.impl_instance) if isinstance(column.type, TypeDecorator) else column


def _limited(table: Any, condition: ColumnElement[bool] | None, up_to: int | None) -> ColumnElement[bool] | None:
    if up_to is None:
        return condition
    early = table.c.sequence <= up_to
    return early if condition is None else and_(early, condition)


def _linked(connection: Connection, batch: str, conditions: _Conditions) -> Iterator[ColumnElement[bool]]:
    """Yield conditions for the links of a batch's records; image links follow that of their scoring."""
    for kind, condition in conditions.items():
        if kind != images.name and condition is not None:
            yield chain.c.sequence.in_(select(KINDS[kind].c.sequence).where(condition))
    scored = select(batches.c.sequence, batches.c.received).where(batches.c.batch == batch)
    for sequence, received in connection.execute(scored):
        yield chain.c.sequence.between(sequence + 1, sequence + received)


def _links(connection: Connection, condition: ColumnElement[bool] | None) -> Table:
    names = [chain.c[name] for name in LINK_COLUMNS]
    query = select(*names).order_by(chain.c.sequence)
    query = query if condition is None else query.where(condition)
    return Table(LINK_COLUMNS, (_in_hex(row) for row in _rows(connection, query)))


def _in_hex(row: Any) -> tuple[Any, ...]:
    return tuple(bytes(value).hex() if isinstance(value, bytes | memoryview) else value for value in row)


def _rows(connection: Connection, query: Any) -> Iterator[Any]:
    options = {"stream_results": True, "yield_per": _AT_ONCE}
    yield from connection.execute(query, execution_options=options)


def _backwards(query: Any) -> Any:
    return query.order_by(None).order_by(images.c.sequence.desc()).limit(1)


def _of_batch(connection: Connection, batch: str, up_to: int | None) -> _Conditions:
    """Return a condition per kind for the records that a batch depends on, by its scorings up to a sequence."""
    scored = _limited(batches, batches.c.batch == batch, up_to)
    scorings = connection.execute(select(batches).where(scored)).mappings().all()  # type: ignore[arg-type]
    if not scorings:
        raise UnknownBatch(
            f"no batch {batch!r} in the ledger",
            got=repr(batch),
            expected="a batch that was scored",
            remedy="check the name",
        )
    sequences = [row["sequence"] for row in scorings]
    by_bank = {(row["category"], row["bank_version"]) for row in scorings}
    newest: dict[str, int] = {}
    for row in scorings:
        newest[row["category"]] = max(newest.get(row["category"], 0), row["dataset_version"])
    versions = or_(
        *(and_(datasets.c.category == category, datasets.c.number <= number) for category, number in newest.items())
    )
    found: dict[str, ColumnElement[bool] | None] = {
        "batches": batches.c.sequence.in_(sequences),
        "images": images.c.scored_batch.in_(sequences),
        "overrides": overrides.c.scored_batch.in_(sequences),
        "banks": or_(*(and_(banks.c.category == name, banks.c.version == number) for name, number in by_bank)),
        "decisions": or_(
            *(and_(decisions.c.category == name, decisions.c.to_version == number) for name, number in by_bank)
        ),
        "datasets": versions,
        "members": members.c.dataset.in_(select(datasets.c.sequence).where(versions)),
        "archives": archives.c.first >= 0,
    }
    return found
