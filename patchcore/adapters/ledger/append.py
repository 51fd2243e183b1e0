"""Adding records to the ledger: each gets its link in the chain, and checkpoints name all of them from time to time."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Double, Table, TypeDecorator, func, insert, select

from patchcore.adapters.ledger.tables import KINDS, chain, checkpoints
from patchcore.adapters.ledger.times import now
from patchcore.errors import Fault
from patchcore.evidence import hash_chain as links
from patchcore.evidence.hash_chain import CHECKPOINT_EVERY
from patchcore.evidence.merkle import Frontier
from patchcore.evidence.signing import Signer, checkpoint_text


def append(connection: Connection, kind: str, records: Sequence[Mapping[str, Any]]) -> list[int]:
    """Add records of one kind at the end of the chain, and return their sequences.

    Args:
        connection: The one that may write.
        kind: The name of their table.
        records: The values of each by the names of its columns, without its sequence.

    Raises:
        Fault: the database did not keep them.
    """
    table = KINDS[kind]
    last = connection.execute(select(chain.c.sequence, chain.c.hash).order_by(chain.c.sequence.desc()).limit(1)).first()
    sequence, previous = (last.sequence, bytes(last.hash)) if last else (0, links.GENESIS)
    rows, chained = [], []
    for record in map(_without_minus_zero, records):
        sequence += 1
        link = links.link(previous, sequence, kind, links.digest(stored(table, record)))
        rows.append({**record, "sequence": sequence})
        chained.append({name: getattr(link, name) for name in ("sequence", "kind", "content", "previous", "hash")})
        previous = link.hash
    if rows:
        _insert(connection, chain, chained)
        _insert(connection, table, rows)
    return [row["sequence"] for row in rows]


def _insert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    connection.execute(insert(table), rows)
    # A trigger or a rule that somebody put there can drop a row without an error.
    written = table.c.sequence.between(rows[0]["sequence"], rows[-1]["sequence"])
    kept = connection.scalar(select(func.count()).select_from(table).where(written))
    if kept != len(rows):
        raise Fault(
            f"the ledger's database did not keep what was written into its table {table.name}",
            got=f"{kept} of the rows",
            expected=f"{len(rows)}",
            remedy="nothing was written: patchcore audit verify names what acts on the table",
        )


def stored(table: Table, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a record as they stand in the database, without its sequence: what its digest is made of."""
    return {column.name: _stored(column.type, record.get(column.name)) for column in content_columns(table)}


def content_columns(table: Table) -> list[Any]:
    """Return the columns that a record's digest is made of, by their names."""
    return sorted((column for column in table.columns if column.name != "sequence"), key=lambda column: column.name)


def _without_minus_zero(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with 0.0 for -0.0, which SQLite does not keep: every database stores what was hashed."""
    return {name: value + 0.0 if isinstance(value, float) else value for name, value in record.items()}


def _stored(kind: Any, value: Any) -> Any:
    if value is not None and isinstance(kind, TypeDecorator):
        return kind.process_bind_param(value, None)  # type: ignore[arg-type]  # ours ask for no dialect
    return float(value) if value is not None and isinstance(kind, Double) else value


def checkpoint_if_due(connection: Connection, signer: Signer | None) -> None:
    """Make a checkpoint where many records have come since the last one."""
    last = connection.scalar(select(chain.c.sequence).order_by(chain.c.sequence.desc()).limit(1)) or 0
    done = connection.scalar(select(checkpoints.c.size).order_by(checkpoints.c.size.desc()).limit(1)) or 0
    if last - done >= CHECKPOINT_EVERY:
        make_checkpoint(connection, signer)


def make_checkpoint(connection: Connection, signer: Signer | None) -> None:
    """Name all records so far: the hash of the last, and the Merkle root over all; signed where there is a key."""
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
    last = links.GENESIS
    for value in hashes:
        last = bytes(value)
        frontier.add(last)
    return last
