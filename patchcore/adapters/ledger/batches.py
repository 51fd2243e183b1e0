"""Batches in the ledger: what was scored by which bank, one record an image; and where people decided otherwise."""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select, text

from patchcore.adapters.ledger.append import append
from patchcore.adapters.ledger.database import Book, add_record, all_records, as_record
from patchcore.adapters.ledger.records import (
    BatchRecord,
    ImageScore,
    Override,
    RecordedBatch,
    ScoredBatch,
    images_digest,
)
from patchcore.adapters.ledger.tables import archives, batches, images, overrides
from patchcore.adapters.ledger.times import now
from patchcore.errors import Refused


@dataclass(frozen=True)
class ImageRecord:
    """One scoring of an image, with the batch that it was in."""

    batch: BatchRecord
    image: ImageScore


class Batches(Book):
    """Every batch that was scored, with its images."""

    def record_batch(self, record: BatchRecord, rows: Sequence[ImageScore], *, rescored: bool = False) -> BatchRecord:
        """Record a batch with all its images, or nothing.

        The same images scored by the same bank under the same name are recorded once: the last record of them is
        returned.

        Args:
            record: The batch; which scoring of it this is is counted here.
            rows: Its images.
            rescored: Add a record to those that the batch has, for the reason in ``record``; where the last one is of
                the same images, bank and reason, this is done already.

        Raises:
            Refused: the name stands for another batch, the counts do not agree with the images, a score is not a finite
                number, a path occurs twice, or the ledger does not know the bank or the data-set version.
        """
        _require_agreement(record, rows)
        with self._database.writing() as connection:
            known = _scorings(connection, record.batch)
            if not known or (rescored and not _is_same(known[-1], record)):
                record = replace(record, scoring=len(known) + 1, reason=record.reason if known else None)
                sequence = add_record(connection, "batches", {**asdict(record), "at": now()})
                append(connection, "images", [{**asdict(row), "scored_batch": sequence} for row in rows])
                return record
        last = known[-1]
        if rescored or (last.bank_sha256, last.images_sha256) == (record.bank_sha256, record.images_sha256):
            return last
        raise Refused(
            f"batch {record.batch!r} is recorded already",
            got="other images, or another bank",
            expected=f"what bank {last.category} {last.bank_version} scored at {last.scored_at}",
            remedy="give this batch a name of its own, or score it again with --rescore",
        )

    def batch(self, batch: str, scoring: int | None = None) -> RecordedBatch | None:
        """Return a batch with its images, as it was scored last or in the scoring of that number."""
        which = [batches.c.batch == batch]
        if scoring is not None:
            which.append(batches.c.scoring == scoring)
        query = select(batches).where(*which).order_by(batches.c.scoring.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            mine = images.c.scored_batch == row["sequence"]
            # Not sorted by the database: its idea of an order may be that of a language.
            rows = sorted(all_records(connection, ImageScore, images, mine), key=lambda image: image.path)
            archived = not rows and row["received"] > 0 and _is_archived(connection, row["sequence"])
        return RecordedBatch(as_record(BatchRecord, row), tuple(rows), row["sequence"], archived)

    def scorings(self, batch: str) -> list[BatchRecord]:
        """Return every scoring of a batch, the first one first."""
        with self._database.reading() as connection:
            return _scorings(connection, batch)

    def image(self, sha256: str) -> list[ImageRecord]:
        """Return every scoring of an image, the first one first."""
        names = (batches.c[field.name].label(f"batch_{field.name}") for field in fields(BatchRecord))
        scores = (images.c[field.name] for field in fields(ImageScore))
        query = select(*names, *scores).join_from(batches, images, images.c.scored_batch == batches.c.sequence)
        with self._database.reading() as connection:
            rows = connection.execute(query.where(images.c.sha256 == sha256).order_by(images.c.sequence)).mappings()
            return [ImageRecord(_batch_of(row), as_record(ImageScore, row)) for row in rows]

    def batches_of_bank(self, category: str, version: int) -> list[BatchRecord]:
        """Return every batch that a bank version scored, the first one first."""
        with self._database.reading() as connection:
            scored = (batches.c.category == category, batches.c.bank_version == version)
            return all_records(connection, BatchRecord, batches, *scored)

    def scored_by(self, category: str, version: int) -> list[ScoredBatch]:
        """Return every scoring by a bank version with what it let through, the first one first."""
        by_bank = and_(batches.c.category == category, batches.c.bank_version == version)
        with self._database.reading() as connection:
            rows = connection.execute(select(batches).where(by_bank).order_by(batches.c.sequence)).mappings().all()
            anomalous, overridden = _anomalous(connection, by_bank), _overridden(connection, by_bank)
            moved = [tuple(row) for row in connection.execute(select(archives.c.first, archives.c.last))]
        found = []
        for row in rows:
            # Of a batch whose images lie in an archive there is nothing to count.
            archived = row["received"] and any(first <= row["sequence"] + 1 <= last for first, last in moved)
            count = None if archived else anomalous.get(row["sequence"], 0)
            found.append(ScoredBatch(as_record(BatchRecord, row), count, overridden.get(row["sequence"], 0)))
        return found

    def record_override(
        self, batch: str, path: str, *, anomalous: bool, reason: str, who: str, scoring: int | None = None
    ) -> Override:
        """Record that a person decides otherwise about an image of a batch, as it was scored last.

        Args:
            batch: The batch's name.
            path: Of the image, as recorded.
            anomalous: What it is.
            reason: Why.
            who: Who says so.
            scoring: The scoring that this person looked at; None: whichever is the last.

        Raises:
            Refused: there is no such image, it could not be scored, its images lie in an archive, this is decided
                already, or the batch was scored again since that scoring.
        """
        with self._database.writing() as connection:
            latest = select(batches).where(batches.c.batch == batch).order_by(batches.c.scoring.desc()).limit(1)
            scored = connection.execute(latest).mappings().first()
            old = None if scored is None else _decision(connection, scored["sequence"], path)
            if scored is not None and scoring not in {None, scored["scoring"]}:
                raise _no_override(batch, path, f"scoring {scored['scoring']} since", f"scoring {scoring} as the last")
            if scored is None or old is None or old == anomalous:
                archived = scored is not None and old is None and _is_archived(connection, scored["sequence"])
                raise _no_override(batch, path, _standing(old, archived=archived))
            values: dict[str, Any] = {
                "path": path,
                "old": old,
                "new": anomalous,
                "reason": reason,
                "who": who,
                "at": now(),
            }
            sequence = add_record(connection, "overrides", {**values, "scored_batch": scored["sequence"]})
        return Override(sequence=sequence, batch=batch, scoring=scored["scoring"], **values)

    def overrides(self, batch: str) -> list[Override]:
        """Return what people decided otherwise about a batch, in the order in which they did."""
        query = select(overrides, batches.c.batch, batches.c.scoring)
        query = query.join_from(overrides, batches, overrides.c.scored_batch == batches.c.sequence)
        with self._database.reading() as connection:
            rows = connection.execute(query.where(batches.c.batch == batch).order_by(overrides.c.sequence)).mappings()
            return [as_record(Override, row) for row in rows]

    def overrides_of_image(self, sha256: str) -> list[Override]:
        """Return what people decided otherwise about an image, by its content, in the order in which they did."""
        same = and_(overrides.c.scored_batch == images.c.scored_batch, overrides.c.path == images.c.path)
        query = (
            select(overrides, batches.c.batch, batches.c.scoring)
            .join_from(images, overrides, same)
            .join(batches, overrides.c.scored_batch == batches.c.sequence)
            .where(images.c.sha256 == sha256)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(overrides.c.sequence)).mappings()
            return [as_record(Override, row) for row in rows]

    def batches_at(self, sequences: Collection[int]) -> dict[int, BatchRecord]:
        """Return batches by the sequences of their records."""
        with self._database.reading() as connection:
            rows = connection.execute(select(batches).where(batches.c.sequence.in_(sequences))).mappings()
            return {row["sequence"]: as_record(BatchRecord, row) for row in rows}


def _is_same(known: BatchRecord, record: BatchRecord) -> bool:
    """Say whether a scoring is one that is recorded: a command that was run again after a crash."""
    names = ("bank_sha256", "images_sha256", "reason")
    return all(getattr(known, name) == getattr(record, name) for name in names)


def _scorings(connection: Connection, batch: str) -> list[BatchRecord]:
    return all_records(connection, BatchRecord, batches, batches.c.batch == batch, order=batches.c.scoring)


def _anomalous(connection: Connection, condition: ColumnElement[bool]) -> dict[int, int]:
    """Count the images that the bank called anomalous, by the sequence of their batch."""
    theirs = images.c.scored_batch.in_(select(batches.c.sequence).where(condition))
    # In these very words there is an index for it.
    query = select(images.c.scored_batch, func.count()).where(theirs, text("anomalous = 1"))
    rows = connection.execute(query.group_by(images.c.scored_batch)).all()
    return {row[0]: row[1] for row in rows}


def _overridden(connection: Connection, condition: ColumnElement[bool]) -> dict[int, int]:
    """Count the images that people decided otherwise about, by the sequence of their batch."""
    query = (
        select(overrides.c.scored_batch, func.count(overrides.c.path.distinct()))
        .join_from(overrides, batches, overrides.c.scored_batch == batches.c.sequence)
        .where(condition)
        .group_by(overrides.c.scored_batch)
    )
    return {sequence: int(counted) for sequence, counted in connection.execute(query)}


def _batch_of(row: Any) -> BatchRecord:
    return BatchRecord(**{field.name: row[f"batch_{field.name}"] for field in fields(BatchRecord)})


def _is_archived(connection: Connection, sequence: int) -> bool:
    holds: tuple[ColumnElement[bool], ...] = (archives.c.first <= sequence + 1, archives.c.last >= sequence + 1)
    return connection.execute(select(archives.c.sequence).where(*holds)).first() is not None


def _decision(connection: Connection, scored_batch: int, path: str) -> bool | None:
    """Return what is decided about an image: what a person said last, else what the bank said."""
    said = select(overrides.c.new).where(overrides.c.scored_batch == scored_batch, overrides.c.path == path)
    last = connection.scalar(said.order_by(overrides.c.sequence.desc()).limit(1))
    if last is not None:
        return bool(last)
    said_by_bank = select(images.c.anomalous).where(images.c.scored_batch == scored_batch, images.c.path == path)
    return connection.scalar(said_by_bank)


def _standing(old: bool | None, *, archived: bool) -> str:
    """Say why a decision cannot be changed."""
    if archived:
        return "its images lie in an archive"
    return "no such image that was scored" if old is None else f"{'anomalous' if old else 'normal'} already"


def _no_override(
    batch: str, path: str, got: str, expected: str = "an image of the batch in the ledger, and the other decision"
) -> Refused:
    return Refused(
        f"the decision about {path} in batch {batch} is not changed",
        got=got,
        expected=expected,
        remedy=f"look at it with: patchcore audit batch {batch}",
    )


def _require_agreement(record: BatchRecord, rows: Sequence[ImageScore]) -> None:
    """Refuse a batch whose own figures contradict its images; the database checks each row by itself."""
    scores = [row.score for row in rows if row.score is not None]
    counted = (len(rows), len(scores), len(rows) - len(scores))
    stated = (record.received, record.scored, record.failed)
    contradictions = (
        (stated != counted, f"received, scored, failed {stated}", str(counted)),
        (not all(map(math.isfinite, scores)), "a score that is not a finite number", "finite scores"),
        (
            images_digest((row.path, row.sha256) for row in rows) != record.images_sha256,
            "another digest of the images than theirs",
            "the digest of path and sha256 of every image",
        ),
    )
    for wrong, got, expected in contradictions:
        if wrong:
            what = f"batch {record.batch!r} does not agree with its images"
            raise Refused(what, got=got, expected=expected, remedy="report this: the batch was put together wrongly")
