"""Whether the ledger still says what was written into it, as far as the database alone can tell."""

import hashlib
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DatabaseError

from patchcore.adapters.ledger_records import Verification, images_digest
from patchcore.adapters.ledger_tables import batches, images, metadata, triggers
from patchcore.files import canonical_json

_Check = Callable[[Connection], Iterator[str]]


def verify(connection: Connection) -> Verification:
    """Check everything, and report every problem rather than the first."""
    problems = [problem for check in _CHECKS for problem in _run(check, connection)]
    counts = {
        table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in metadata.sorted_tables
    }
    last = {table.name: connection.scalar(select(func.max(table.c.id))) or 0 for table in metadata.sorted_tables}
    head = hashlib.sha256(canonical_json(last)).hexdigest()
    return Verification(not problems, sum(counts.values()), head, tuple(problems))


def _run(check: _Check, connection: Connection) -> list[str]:
    try:
        return list(check(connection))
    except DatabaseError as error:  # a damaged file answers some questions and not others
        return [f"{(check.__doc__ or '').strip()}: {error.orig}"]


def _integrity(connection: Connection) -> Iterator[str]:
    """The file is sound."""
    for (line,) in connection.exec_driver_sql("PRAGMA integrity_check"):
        if line != "ok":
            yield f"SQLite: {line}"


def _references(connection: Connection) -> Iterator[str]:
    """Every bank, data-set version and batch that a record names is there."""
    for table, row, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"{table} {row} names a record that is not in {parent}"


def _append_only(connection: Connection) -> Iterator[str]:
    """The database still refuses changes."""
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    present = {row[0]: row[1] for row in connection.exec_driver_sql(query)}
    for name, statement in triggers():
        if present.get(name) != statement:
            yield f"trigger {name} is {'altered' if name in present else 'missing'}"


def _no_gaps(connection: Connection) -> Iterator[str]:
    """No record was taken out: ids count from 1 to the last one that the database gave."""
    given = {row[0]: row[1] for row in connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence")}
    for table in metadata.sorted_tables:
        count = connection.scalar(select(func.count()).select_from(table)) or 0
        if count != given.get(table.name, 0):
            yield f"{table.name}: {count} records, {given.get(table.name, 0)} were written"


def _counts(connection: Connection) -> Iterator[str]:
    """Each batch has as many scored and failed images as it says."""
    numbers = (func.count(images.c.id), func.count(images.c.score))
    query = select(batches.c.batch, batches.c.received, batches.c.scored, *numbers)
    query = query.join_from(batches, images, isouter=True).group_by(batches.c.id)
    for batch, received, scored, images_present, scores_present in connection.execute(query):
        if (received, scored) != (images_present, scores_present):
            yield (
                f"batch {batch}: {received} received and {scored} scored, "
                f"{images_present} images and {scores_present} scores"
            )


def _digests(connection: Connection) -> Iterator[str]:
    """Each batch has the images that its digest names."""
    query = select(images.c.path, images.c.sha256)
    for number, batch, digest in connection.execute(select(batches.c.id, batches.c.batch, batches.c.images_sha256)):
        rows = connection.execute(query.where(images.c.batch_id == number))
        if images_digest((path, sha256) for path, sha256 in rows) != digest:
            yield f"batch {batch}: its images are not those that were recorded"


_CHECKS: tuple[_Check, ...] = (_integrity, _references, _append_only, _no_gaps, _counts, _digests)
