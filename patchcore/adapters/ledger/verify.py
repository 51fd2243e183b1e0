"""Verifying the ledger in its database, and making checkpoints."""

import heapq
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import DatabaseError

from patchcore.adapters.ledger.append import content_columns, make_checkpoint
from patchcore.adapters.ledger.database import LedgerRepository, all_records
from patchcore.adapters.ledger.dialects import Dialect
from patchcore.adapters.ledger.evidence_records import Checkpoint
from patchcore.adapters.ledger.tables import KINDS, archives, chain, checkpoints, images
from patchcore.errors import EmptyLedger
from patchcore.evidence import hash_chain
from patchcore.evidence.anchors import Anchor
from patchcore.evidence.findings import Findings, Verification
from patchcore.evidence.verify_chain import Archived, walk

_AT_ONCE = 5000  # rows per fetch: limits memory


class Verifications(LedgerRepository):
    """Verification and checkpoints."""

    def verify(
        self,
        anchors: Sequence[Anchor] = (),
        trusted: Collection[str] = (),
        archived: Sequence[Iterable[tuple[int, bytes]]] = (),
        *,
        without_archives: bool = False,
    ) -> Verification:
        """Check the database, its guards, and every record from the first to the last.

        Args:
            anchors: The anchors of the ledger.
            trusted: Public keys that must have signed the checkpoints. Empty: any key, or no signature, is accepted.
            archived: Sequence and content digest of the images in each available archive.
            without_archives: Whether images in archives may be missing; if not, a missing one is a problem.
        """
        dialect = self._database.dialect
        with self._database.reading() as connection:
            problems = [
                *_run("the database", lambda: list(dialect.tampering(connection))),
                *_run("its guards", lambda: list(_schema_problems(dialect, connection))),
            ]
            found = _walk(StoredRecords(connection, archived), anchors, trusted, without_archives)
        found.problems[:0] = problems
        result = found.result(anchors=len(anchors))
        problem_texts, note_texts = (tuple(map(_printable, texts)) for texts in (result.problems, result.notes))
        return replace(result, problems=problem_texts, notes=note_texts)

    def checkpoint(self) -> Checkpoint:
        """Append a checkpoint that covers all records and return it; return the last one if no record came after it.

        Raises:
            EmptyLedger: There is no record yet.
            LedgerUnavailable: The ledger cannot be written.
        """
        with self._database.writing() as connection:
            newest = select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)
            last = connection.execute(newest).mappings().first()
            end = connection.scalar(select(chain.c.sequence).order_by(chain.c.sequence.desc()).limit(1)) or 0
            if not end:
                raise EmptyLedger(
                    "cannot make a checkpoint",
                    got="a ledger without records",
                    expected="at least one record",
                    remedy="run patchcore ingest or retrain first: they add records and anchor the ledger",
                )
            if last is None or end > last["sequence"]:
                make_checkpoint(connection, self._database.signer)
        return self.checkpoints()[-1]

    def checkpoints(self) -> list[Checkpoint]:
        """Return every checkpoint, oldest first."""
        with self._database.reading() as connection:
            return all_records(connection, Checkpoint, checkpoints)


def _run(what: str, check: Callable[[], list[str]]) -> list[str]:
    try:
        return check()
    except DatabaseError as error:  # a damaged file can answer some queries and not others
        return [f"{what}: {error.orig}"]


def _schema_problems(dialect: Dialect, connection: Connection) -> Iterator[str]:
    expected, actual = dialect.expected_schema(), dialect.actual_schema(connection)
    for name, definition in expected.items():
        if actual.get(name) != definition:
            harm = "would allow changes" if name.startswith("guard ") else "differs from what its migrations made"
            yield f"{name} is {'altered' if name in actual else 'missing'}: the database {harm}"
    for name in sorted(actual.keys() - expected.keys()):
        # A plain index is harmless; a unique, conditional or computed one may refuse a record.
        if not name.startswith("index "):
            what = name.replace("guard ", "trigger ", 1)
            yield f"{what} is foreign: the database may store other records than it was given"


def _walk(
    records: "StoredRecords", anchors: Sequence[Anchor], trusted: Collection[str], without_archives: bool
) -> Findings:
    try:
        with records.tolerant_text():
            return walk(records, anchors, trusted, without_archives=without_archives)
    except DatabaseError as error:
        return Findings(problems=[f"the records cannot be read: {error.orig}"])


def _digest(names: Sequence[str], values: Sequence[object]) -> bytes:
    try:
        return hash_chain.digest_of_sorted(names, values)
    except (ValueError, TypeError):  # an infinite number or text that is not UTF-8: this library never writes that
        return b""


def _printable(value: Any) -> Any:
    """Return a value with the bytes that are not UTF-8 escaped, so that it can be printed and signed."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


class StoredRecords:
    """The records in the database and in available archives, as `patchcore.evidence.verify_chain` reads them."""

    kinds = tuple(KINDS)

    def __init__(self, connection: Connection, archived: Sequence[Iterable[tuple[int, bytes]]] = ()) -> None:
        self._connection, self._archived = connection, archived

    @contextmanager
    def tolerant_text(self) -> Iterator[None]:
        """Read text from SQLite that is not UTF-8, with a surrogate in place of each wrong byte."""
        driver = self._connection.connection.driver_connection
        if not isinstance(driver, sqlite3.Connection):
            yield
            return
        driver.text_factory = lambda content: content.decode(errors="surrogateescape")
        try:
            yield
        finally:
            driver.text_factory = str

    def links(self) -> Iterator[tuple[int, str, bytes, bytes, bytes]]:
        """Yield every link."""
        yield from self._rows("SELECT sequence, kind, content, previous, hash FROM chain ORDER BY sequence")

    def contents(self, kind: str) -> Iterator[tuple[int, bytes]]:
        """Yield sequence and content digest of every record of a kind."""
        stored = self._stored(kind)
        yield from heapq.merge(stored, *self._archived) if kind == images.name else stored

    def _stored(self, kind: str) -> Iterator[tuple[int, bytes]]:
        names = [column.name for column in content_columns(KINDS[kind])]
        columns = ", ".join(f'"{name}"' for name in names)
        for sequence, *values in self._rows(f"SELECT sequence, {columns} FROM {kind} ORDER BY sequence"):  # noqa: S608
            yield sequence, _digest(names, values)

    def checkpoints(self) -> Mapping[int, Mapping[str, Any]]:
        """Return the values of each checkpoint by its sequence."""
        # Without the peaks: after tampering they may not be JSON.
        names = ("sequence", "size", "head", "root", "key", "signature", "at")
        rows = self._connection.execute(select(*(checkpoints.c[name] for name in names))).mappings()
        return {row["sequence"]: {name: _printable(value) for name, value in row.items()} for row in rows}

    def archived(self) -> Sequence[Archived]:
        """Return the images that were moved to archives."""
        columns = (archives.c.sequence, archives.c.name, archives.c.first, archives.c.last, archives.c.images)
        return [
            Archived(sequence, name, images.name, first, last, count)
            for sequence, name, first, last, count in self._connection.execute(select(*columns))
        ]

    def _rows(self, query: str) -> Iterator[Any]:
        options = {"stream_results": True, "yield_per": _AT_ONCE}
        yield from self._connection.exec_driver_sql(query, execution_options=options)
