"""A thousand ways to falsify a ledger, on SQLite and on PostgreSQL, by who owns the database: all are detected.

Each mutation is made with every guard lifted, in a transaction that is rolled back: none builds upon another.
Records after the last anchor can be cut off without a trace: there are none here.
"""

import json
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection, Double, Integer, text

from patchcore.adapters.ledger import Ledger
from patchcore.adapters.ledger.append import append, content_columns
from patchcore.adapters.ledger.tables import KINDS
from patchcore.adapters.ledger.verify import StoredRecords
from patchcore.evidence import hash_chain
from patchcore.evidence.anchors import Anchor
from patchcore.evidence.findings import Findings
from patchcore.evidence.merkle import Frontier
from patchcore.evidence.verify_chain import walk
from tests.support.ledgers import add_batch, fill, scored
from tests.support.tampering import Owner

MUTATIONS, SAMPLE = 1000, 120
Record = tuple[int, str]  # sequence and kind
Moved = list[tuple[int, bytes]]  # sequence and content digest of archived images
Filled = tuple[list[Anchor], Moved]
Mutation = Callable[[Connection, random.Random, list[Record]], tuple[int, str]]


@pytest.fixture
def filled(ledger: Ledger) -> Filled:
    """Fill the ledger with records of every kind and checkpoints between them, and move the first images away."""
    fill(ledger)
    anchors = []
    for number in range(3):
        add_batch(ledger, f"shift {number}", 2, [scored(f"{number}-{image}.png", 1 + image / 7) for image in range(4)])
        checkpoint = ledger.checkpoint()
        anchors.append(Anchor(f"file, line {number}", checkpoint.size, checkpoint.head, checkpoint.root))
    moved = _archive(ledger)
    last = ledger.verify(archived=[moved])
    assert last.ok, last.problems
    return [*anchors, Anchor("git tag", last.records, last.head, last.root)], moved


def test_a_thousand_mutations_are_all_detected_and_the_first_bad_record_is_named(
    ledger_url: str, filled: Filled, sample: Callable[[int, int], int]
) -> None:
    mutations = sample(SAMPLE, MUTATIONS)
    anchors, moved = filled
    owner, generator = Owner(ledger_url), random.Random(4711)  # noqa: S311 - it chooses, it hides nothing
    tried: dict[str, int] = {}
    missed = []
    with owner.at_work(checks=False) as connection:
        records = _records(connection)
        for number in range(mutations):
            mutation = MUTATE[number % len(MUTATE)]
            attempt = connection.begin_nested()
            first, words = mutation(connection, generator, records)
            found = walk(StoredRecords(connection, [moved]), anchors)
            attempt.rollback()
            tried[mutation.__name__] = tried.get(mutation.__name__, 0) + 1
            if not _is_detected(found, first, mutation, anchors):
                missed.append(f"{mutation.__name__}: {words}; got {found.first_bad}, {found.problems[:2]}")
        assert not walk(StoredRecords(connection, [moved]), anchors).problems  # every mutation was taken back
    assert missed == []
    assert sum(tried.values()) == mutations
    assert min(tried.values()) >= mutations // len(MUTATE) > 0


def _is_detected(found: Findings, first: int, mutation: Mutation, anchors: list[Anchor]) -> bool:
    if not found.problems or found.first_bad is None:
        return False
    if mutation is not rewrite_the_tail:
        return found.first_bad == first
    # Every hash is right again: the anchors say between which two of them the first bad record lies.
    agreed = max((anchor.size for anchor in anchors if anchor.size < first), default=0)
    return found.first_bad == agreed + 1 <= first


def test_what_nobody_ever_wrote_is_found_and_stops_nothing(ledger_url: str, filled: Filled) -> None:
    anchors, moved = filled
    owner = Owner(ledger_url)
    with owner.at_work(checks=False) as connection:
        records = _records(connection)
        for kind, name, value in (("checkpoints", "peaks", "["), ("images", "score", float("inf"))):
            attempt = connection.begin_nested()
            sequence = next(number for number, of_kind in records if of_kind == kind)
            _set(connection, kind, sequence, name, value)
            assert walk(StoredRecords(connection, [moved]), anchors).first_bad == sequence
            attempt.rollback()
        connection.execute(text("UPDATE chain SET sequence = -5 WHERE sequence = 5"))
        assert walk(StoredRecords(connection, [moved]), anchors).first_bad == -5


def test_an_archive_that_is_not_at_hand_is_a_problem_unless_that_is_allowed(ledger: Ledger, filled: Filled) -> None:
    anchors, moved = filled
    assert ledger.verify(anchors, archived=[moved]).ok
    missing = ledger.verify(anchors)
    assert (missing.ok, missing.first_bad) == (False, moved[0][0])
    assert "which is not here" in missing.problems[0]
    allowed = ledger.verify(anchors, without_archives=True)
    assert allowed.ok
    assert "were not checked" in allowed.notes[0]


def test_a_forged_archive_does_not_excuse_images_that_were_deleted(ledger: Ledger, ledger_url: str) -> None:
    fill(ledger)
    add_batch(ledger, "deleted", 2, [scored(f"{image}.png", 9.0) for image in range(5)])
    ((first,),) = Owner(ledger_url).rows("SELECT max(sequence) - 4 FROM images")
    with ledger._database.writing() as connection:
        record = {"first": first, "last": first + 4, "images": 1, "name": "n", "sha256": "s", "who": "w", "at": "a"}
        append(connection, "archives", [record])
    Owner(ledger_url).run(f"DELETE FROM images WHERE sequence >= {first}")  # noqa: S608
    found = ledger.verify(without_archives=True)
    assert not found.ok
    assert "should hold 1 records, but the chain has 5" in found.problems[0]
    assert ledger.verify().first_bad == first


def edit_a_value(connection: Connection, generator: random.Random, records: list[Record]) -> tuple[int, str]:
    sequence, kind = generator.choice(records)
    column = generator.choice(content_columns(KINDS[kind]))
    old = connection.execute(text(f'SELECT "{column.name}" FROM {kind} WHERE sequence = {sequence}')).scalar_one()  # noqa: S608
    new = _another(generator, column.type, old)
    _set(connection, kind, sequence, column.name, new)
    return sequence, f"{kind}.{column.name} from {old!r} to {new!r}"


def take_a_value_away(connection: Connection, generator: random.Random, records: list[Record]) -> tuple[int, str]:
    while True:
        sequence, kind = generator.choice(records)
        names = [column.name for column in content_columns(KINDS[kind]) if column.nullable]
        if present := [name for name in names if _value(connection, kind, sequence, name) is not None]:
            name = generator.choice(present)
            _set(connection, kind, sequence, name, None)
            return sequence, f"{kind}.{name} to nothing"


def edit_a_link(connection: Connection, generator: random.Random, records: list[Record]) -> tuple[int, str]:
    sequence, _ = generator.choice(records)
    name = generator.choice(["content", "previous", "hash"])
    value = bytearray(_value(connection, "chain", sequence, name))
    value[generator.randrange(32)] ^= 1 << generator.randrange(8)
    _set(connection, "chain", sequence, name, bytes(value))
    return sequence, f"a bit of chain.{name}"


def change_a_kind(connection: Connection, generator: random.Random, records: list[Record]) -> tuple[int, str]:
    sequence, kind = generator.choice(records)
    _set(connection, "chain", sequence, "kind", generator.choice([name for name in [*KINDS, "nobody"] if name != kind]))
    return sequence, f"{kind} called otherwise"


def delete_a_record(connection: Connection, generator: random.Random, records: list[Record]) -> tuple[int, str]:
    sequence, kind = generator.choice(records)
    for table in generator.choice([[kind], ["chain"], [kind, "chain"]]):
        connection.execute(text(f"DELETE FROM {table} WHERE sequence = {sequence}"))  # noqa: S608
    return sequence, f"{kind} deleted"


def close_the_gap_after_a_deletion(
    connection: Connection, generator: random.Random, records: list[Record]
) -> tuple[int, str]:
    sequence, kind = generator.choice(records[:-1])
    for table in (kind, "chain"):
        connection.execute(text(f"DELETE FROM {table} WHERE sequence = {sequence}"))  # noqa: S608
    for table in ("chain", *KINDS):  # a negative number first: no two rows have the same one at any moment
        connection.execute(text(f"UPDATE {table} SET sequence = -(sequence - 1) WHERE sequence > {sequence}"))  # noqa: S608
        connection.execute(text(f"UPDATE {table} SET sequence = -sequence WHERE sequence < 0"))  # noqa: S608
    return sequence, f"{kind} deleted, the rest numbered anew"


def insert_a_record(connection: Connection, generator: random.Random, records: list[Record]) -> tuple[int, str]:
    sequence, kind = generator.choice([record for record in records if record[1] in COPIED])
    for table in ("chain", *KINDS):
        connection.execute(text(f"UPDATE {table} SET sequence = -(sequence + 1) WHERE sequence > {sequence}"))  # noqa: S608
        connection.execute(text(f"UPDATE {table} SET sequence = -sequence WHERE sequence < 0"))  # noqa: S608
    _copy(connection, kind, [column.name for column in KINDS[kind].columns], sequence, sequence + 1)
    _copy(connection, "chain", _CHAIN, sequence, sequence + 1)
    return sequence + 1, f"a copy of {kind} {sequence} put in after it"


def add_what_the_chain_does_not_know(
    connection: Connection, generator: random.Random, records: list[Record]
) -> tuple[int, str]:
    sequence, kind = generator.choice([record for record in records if record[1] in COPIED])
    end = records[-1][0] + generator.randint(1, 5)
    _copy(connection, kind, [column.name for column in KINDS[kind].columns], sequence, end)
    return end, f"a copy of {kind} {sequence} at the end, without a link"


def swap_two_records(connection: Connection, generator: random.Random, records: list[Record]) -> tuple[int, str]:
    while True:
        (one, kind), (other, same) = generator.sample(records, 2)
        tables = generator.choice([[kind], ["chain"]]) if kind == same else ["chain"]
        if kind == same and tables == [kind] and _content(connection, kind, one) == _content(connection, kind, other):
            continue
        for table in tables:
            for before, after in ((one, -1), (other, one), (-1, other)):
                connection.execute(text(f"UPDATE {table} SET sequence = {after} WHERE sequence = {before}"))  # noqa: S608
        return min(one, other), f"{tables[0]} {one} and {other} swapped"


def cut_the_tail_off(connection: Connection, generator: random.Random, records: list[Record]) -> tuple[int, str]:
    sequence, _ = generator.choice(records)
    for table in ("chain", *KINDS):
        connection.execute(text(f"DELETE FROM {table} WHERE sequence >= {sequence}"))  # noqa: S608
    return sequence, "all from there on deleted"


def rewrite_the_tail(connection: Connection, generator: random.Random, records: list[Record]) -> tuple[int, str]:
    """Change a value, and make every hash and every checkpoint after it right again."""
    changeable = [record for record in records if record[1] not in {"checkpoints", "archives"}]
    sequence, kind = generator.choice(changeable)
    column = generator.choice([column for column in content_columns(KINDS[kind]) if not _is_reference(column.name)])
    _set(
        connection,
        kind,
        sequence,
        column.name,
        _another(generator, column.type, _value(connection, kind, sequence, column.name)),
    )
    links = connection.execute(text("SELECT sequence, kind, content, hash FROM chain ORDER BY sequence")).all()
    previous, frontier, here = hash_chain.GENESIS, Frontier(), {number for number, _ in records}
    for number, name, before, value in links:
        if number < sequence:
            previous = bytes(value)
        else:
            if name == "checkpoints":
                _renew(connection, number, previous, frontier)
            content = _content(connection, name, number) if number in here else bytes(before)
            link = hash_chain.link(previous, number, name, content)
            values = {"content": link.content, "previous": link.previous, "hash": link.hash}
            connection.execute(_RELINK, {"number": number, **values})
            previous = link.hash
        frontier.add(previous)
    assert not walk(StoredRecords(connection), without_archives=True).problems  # only the anchors can tell
    return sequence, f"{kind}.{column.name}, and all hashes after it"


MUTATE: list[Mutation] = [
    edit_a_value,
    take_a_value_away,
    edit_a_link,
    change_a_kind,
    delete_a_record,
    close_the_gap_after_a_deletion,
    insert_a_record,
    add_what_the_chain_does_not_know,
    swap_two_records,
    cut_the_tail_off,
    rewrite_the_tail,
]
COPIED = {"images", "events", "overrides"}  # a copy of these breaks no rule of its table
_CHAIN = ("sequence", "kind", "content", "previous", "hash")
_RELINK = text("UPDATE chain SET content = :content, previous = :previous, hash = :hash WHERE sequence = :number")


def _copy(connection: Connection, table: str, names: Sequence[str], sequence: int, to: int) -> None:
    changed = {"sequence": str(to), "path": "path || 'x'"}
    chosen = ", ".join(changed.get(name, f'"{name}"') for name in names)
    into = ", ".join(f'"{name}"' for name in names)
    query = f"INSERT INTO {table} ({into}) SELECT {chosen} FROM {table} WHERE sequence = {sequence}"  # noqa: S608
    connection.execute(text(query))


def _archive(ledger: Ledger) -> Moved:
    """Move the images of the first batches out of the ledger; what is returned stands for their file."""
    with ledger._database.reading() as connection:
        digests = list(StoredRecords(connection).contents("images"))[:5]
    first, last = digests[0][0], digests[-1][0]
    ledger.archive(first, last, count=len(digests), name="images", sha256="0" * 64, who="ann")
    return digests


def _records(connection: Connection) -> list[Record]:
    found = [(row[0], row[1]) for row in connection.execute(text("SELECT sequence, kind FROM chain ORDER BY sequence"))]
    assert {kind for _, kind in found} == set(KINDS)
    assert len(found) < hash_chain.CHECKPOINT_EVERY
    query = text(
        "SELECT chain.sequence FROM chain LEFT JOIN images USING (sequence) WHERE kind = 'images' AND path IS NULL"
    )
    moved = set(connection.scalars(query))
    return [record for record in found if record[0] not in moved]


def _is_reference(name: str) -> bool:
    return name in {"dataset", "scored_batch", "proposal"}


def _another(generator: random.Random, kind: Any, old: Any) -> Any:
    """Return another value of the same type that the table takes."""
    if isinstance(kind, Double):
        return math.nextafter(old, 0.0) if old else 0.5
    if isinstance(getattr(kind, "impl_instance", kind), Integer):
        flag = type(kind).__name__ == "Flag"
        return (1 - (old or 0)) if flag else (old or 0) + generator.choice([100, 1000, 7777])
    return generator.choice([f"{old}x", f"{old} ", str(old)[:-1] or "y", str(old).swapcase() + "z"])


def _value(connection: Connection, table: str, sequence: int, name: str) -> Any:
    return connection.execute(text(f'SELECT "{name}" FROM {table} WHERE sequence = {sequence}')).scalar_one()  # noqa: S608


def _set(connection: Connection, table: str, sequence: int, name: str, value: Any) -> None:
    connection.execute(text(f'UPDATE {table} SET "{name}" = :value WHERE sequence = {sequence}'), {"value": value})  # noqa: S608


def _content(connection: Connection, kind: str, sequence: int) -> bytes:
    names = ", ".join(f'"{column.name}"' for column in content_columns(KINDS[kind]))
    row = connection.execute(text(f"SELECT {names} FROM {kind} WHERE sequence = {sequence}")).mappings().one()  # noqa: S608
    return hash_chain.digest(dict(row))


def _renew(connection: Connection, sequence: int, head: bytes, frontier: Frontier) -> None:
    peaks = json.dumps([peak.hex() for peak in frontier.peaks])
    for name, value in (("head", head.hex()), ("root", frontier.root().hex()), ("peaks", peaks)):
        _set(connection, "checkpoints", sequence, name, value)
