"""Appending records to the ledger: each record gets a link in the chain, and checkpoints cover all records so far."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Double, Table, TypeDecorator, func, insert, select

from patchcore.adapters.ledger.tables import KINDS, chain, checkpoints
from patchcore.adapters.ledger.times import now
from patchcore.errors import LedgerUnavailable
from patchcore.evidence import hash_chain
from patchcore.evidence.hash_chain import CHECKPOINT_EVERY
from patchcore.evidence.merkle import Frontier
from patchcore.evidence.signing import Signer, checkpoint_text


def append(connection: Connection, kind: str, records: Sequence[Mapping[str, Any]]) -> list[int]:
    """Append records of one kind to the chain and return their sequences.

    Args:
        connection: The connection that may write.
        kind: The kind of the records, which is the name of their table.
        records: The values of each record by column name, without its sequence.

    Raises:
        LedgerUnavailable: The database did not keep the records.
    """
    table = KINDS[kind]
    last = connection.execute(select(chain.c.sequence, chain.c.hash).order_by(chain.c.sequence.desc()).limit(1)).first()
    sequence, previous = (last.sequence, bytes(last.hash)) if last else (0, hash_chain.GENESIS)
    rows, chained = [], []
    for record in map(_without_minus_zero, records):
        sequence += 1
        link = hash_chain.link(previous, sequence, kind, hash_chain.digest(stored(table, record)))
        rows.append({**record, "sequence": sequence})
        chained.append({name: getattr(link, name) for name in ("sequence", "kind", "content", "previous", "hash")})
        previous = link.hash
    if rows:
        _insert(connection, chain, chained)
        _insert(connection, table, rows)
    return [row["sequence"] for row in rows]


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    connection.execute(insert(table), rows)
    # A foreign trigger or rule can drop a row without an error.
    written = table.c.sequence.between(rows[0]["sequence"], rows[-1]["sequence"])
    kept = connection.scalar(select(func.count()).select_from(table).where(written))
    if kept != len(rows):
        raise LedgerUnavailable(
            f"the ledger's database did not keep the rows written to its table {table.name}",
            got=f"{kept} of the rows",
            expected=f"{len(rows)}",
            remedy="nothing was written; patchcore audit verify names the trigger or rule that acts on the table",
        )


def stored(table: Table, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a record as the database stores them, without its sequence: the input of its digest."""
    return {column.name: _stored(column.type, record.get(column.name)) for column in content_columns(table)}


def content_columns(table: Table) -> list[Any]:
    """Return the columns that a record's digest covers, sorted by name."""
    return sorted((column for column in table.columns if column.name != "sequence"), key=lambda column: column.name)


def _without_minus_zero(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with 0.0 in place of -0.0: SQLite does not keep -0.0, and must store what was hashed."""
    return {name: value + 0.0 if isinstance(value, float) else value for name, value in record.items()}


def _stored(kind: Any, value: Any) -> Any:
    if value is not None and isinstance(kind, TypeDecorator):
        return kind.process_bind_param(value, None)  # type: ignore[arg-type]  # our column types ignore the dialect
    return float(value) if value is not None and isinstance(kind, Double) else value


def checkpoint_if_due(connection: Connection, signer: Signer | None) -> None:
    """Append a checkpoint if enough records have been added since the last one."""
    last = connection.scalar(select(chain.c.sequence).order_by(chain.c.sequence.desc()).limit(1)) or 0
    done = connection.scalar(select(checkpoints.c.size).order_by(checkpoints.c.size.desc()).limit(1)) or 0
    if last - done >= CHECKPOINT_EVERY:
        make_checkpoint(connection, signer)


def make_checkpoint(connection: Connection, signer: Signer | None) -> None:
    """Append a checkpoint that covers all records so far; it is signed if there is a signer."""
    before = connection.execute(select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)).mappings().first()
    frontier = Frontier(before["size"], map(bytes.fromhex, before["peaks"])) if before else Frontier()
    head = _extend(
        frontier,
        connection.scalars(select(chain.c.hash).where(chain.c.sequence > frontier.size).order_by(chain.c.sequence)),
    )
    size, root, at = frontier.size, frontier.root().hex(), now()
    text = checkpoint_text(size=size, head=head.hex(), root=root, at=at)
    record = {
        "size": size,
        "head": head.hex(),
        "root": root,
        "peaks": [peak.hex() for peak in frontier.peaks],
        "key": signer.key if signer else None,
        "signature": signer.sign(text) if signer else None,
        "at": at,
    }
    append(connection, checkpoints.name, [record])


def _extend(frontier: Frontier, hashes: Iterable[bytes]) -> bytes:
    """Add hashes to a frontier and return the last one."""
    last = hash_chain.GENESIS
    for value in hashes:
        last = bytes(value)
        frontier.add(last)
    return last
