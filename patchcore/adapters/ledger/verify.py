"""Whether the ledger still says what was written into it; and the checkpoints that name its state."""

import heapq
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.exc import DatabaseError

from patchcore.adapters.ledger.append import content_columns, make_checkpoint
from patchcore.adapters.ledger.database import Book, all_records
from patchcore.adapters.ledger.dialects import Kind
from patchcore.adapters.ledger.evidence_records import Checkpoint, Verification
from patchcore.adapters.ledger.tables import KINDS, archives, chain, checkpoints, images
from patchcore.errors import Refused
from patchcore.evidence import hash_chain as links
from patchcore.evidence.verify_chain import Anchor, Archived, Walk, walk

_AT_ONCE = 5000  # rows that are fetched together: bounds memory


class Checks(Book):
    """The ledger's evidence about itself."""

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
            anchors: What was written down of the ledger elsewhere.
            trusted: Public keys that checkpoints must be signed by; none: any key will do, and none at all.
            archived: Sequence and content digest of the images in each archive that is at hand.
            without_archives: Images in archives that are not at hand may be missing; else that is a problem.
        """
        with self._database.reading() as connection:
            kind = self._database.kind
            problems = [
                *_run("the database", lambda: list(kind.damage(connection))),
                *_run("its guards", lambda: list(_guards(kind, connection))),
            ]
            found = _walk(StoredRecords(connection, archived), anchors, trusted, without_archives)
        problems += found.problems
        told, notes = (tuple(map(_printable, texts)) for texts in (problems, found.notes))
        values = (found.size, found.head, found.root, found.first_bad, told, notes)
        return Verification(not problems, *values, anchors=len(anchors), checked=found.checked)

    def checkpoint(self) -> Checkpoint:
        """Name all records so far, and return the name; where nothing came since the last one, that one.

        Raises:
            Refused: there is no record yet.
            Fault: the ledger cannot be written.
        """
        with self._database.writing() as connection:
            newest = select(checkpoints).order_by(checkpoints.c.size.desc()).limit(1)
            last = connection.execute(newest).mappings().first()
            end = connection.scalar(select(chain.c.sequence).order_by(chain.c.sequence.desc()).limit(1)) or 0
            if not end:
                raise Refused(
                    "a checkpoint of the ledger",
                    got="a ledger without records",
                    expected="at least one, whose hash it can name",
                    remedy="anchor it after the first record: patchcore ingest or retrain adds one, and anchors it",
                )
            if last is None or end > last["sequence"]:
                make_checkpoint(connection, self._database.signer)
        return self.checkpoints()[-1]

    def checkpoints(self) -> list[Checkpoint]:
        """Return every checkpoint, the first one first."""
        with self._database.reading() as connection:
            return all_records(connection, Checkpoint, checkpoints)


def _run(what: str, check: Callable[[], list[str]]) -> list[str]:
    try:
        return check()
    except DatabaseError as error:  # a damaged file answers some questions and not others
        return [f"{what}: {error.orig}"]


def _guards(kind: Kind, connection: Connection) -> Iterator[str]:
    made, standing = kind.made(), kind.standing(connection)
    for name, definition in made.items():
        if standing.get(name) != definition:
            harm = "would allow changes" if name.startswith("guard ") else "is not as its migrations made it"
            yield f"{name} is {'altered' if name in standing else 'missing'}: the database {harm}"
    for name in sorted(standing.keys() - made.keys()):
        if not name.startswith(
            "index "
        ):  # a unique, conditional or computed one may refuse a record; others do no harm
            what = name.replace("guard ", "trigger ", 1)
            yield f"{what} is none of ours: the database may keep other records than it was given"


def _walk(
    records: "StoredRecords", anchors: Sequence[Anchor], trusted: Collection[str], without_archives: bool
) -> Walk:
    try:
        with records.whatever_text():
            return walk(records, anchors, trusted, without_archives=without_archives)
    except DatabaseError as error:
        return Walk(problems=[f"the records cannot be read: {error.orig}"])


def _digest(names: Sequence[str], values: Sequence[object]) -> bytes:
    try:
        return links.digest_of_sorted(names, values)
    except (ValueError, TypeError):  # an infinite number, text that is no UTF-8: nothing that we ever wrote
        return b""


def _printable(value: Any) -> Any:
    """Return a value with what is no UTF-8 in its text escaped, so that it can be printed and signed."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


class StoredRecords:
    """A ledger's records, in its database and in archives at hand, as `patchcore.evidence.verify_chain` reads them."""

    kinds = tuple(KINDS)

    def __init__(self, connection: Connection, archived: Sequence[Iterable[tuple[int, bytes]]] = ()) -> None:
        self._connection, self._archived = connection, archived

    @contextmanager
    def whatever_text(self) -> Iterator[None]:
        """Let SQLite hand out text that is no UTF-8 too, each such byte as a surrogate, which no text of ours has."""
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
        # Not the peaks: what somebody wrote there may be no JSON.
        names = ("sequence", "size", "head", "root", "key", "signature", "at")
        rows = self._connection.execute(select(*(checkpoints.c[name] for name in names))).mappings()
        return {row["sequence"]: {name: _printable(value) for name, value in row.items()} for row in rows}

    def archived(self) -> Sequence[Archived]:
        """Return which images were moved into archives."""
        columns = (archives.c.sequence, archives.c.name, archives.c.first, archives.c.last, archives.c.images)
        return [
            Archived(sequence, name, images.name, first, last, count)
            for sequence, name, first, last, count in self._connection.execute(select(*columns))
        ]

    def _rows(self, query: str) -> Iterator[Any]:
        options = {"stream_results": True, "yield_per": _AT_ONCE}
        yield from self._connection.exec_driver_sql(query, execution_options=options)
