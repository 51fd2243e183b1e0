"""Batches in the ledger: one record per scoring, one per image, and one per override."""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select, text

from patchcore.adapters.ledger.append import append
from patchcore.adapters.ledger.database import LedgerRepository, add_record, all_records, as_record
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
from patchcore.errors import BatchExists, CannotOverride, RecordRefused


@dataclass(frozen=True)
class ImageRecord:
    """One scoring of an image, with the scoring of its batch."""

    batch: BatchRecord
    image: ImageScore


class Batches(LedgerRepository):
    """Batches with their images and overrides."""

    def record_batch(self, record: BatchRecord, rows: Sequence[ImageScore], *, rescored: bool = False) -> BatchRecord:
        """Record a batch with all its images, or nothing.

        The same images scored by the same bank under the same name are recorded once; then the last record is returned.

        Args:
            record: The batch; its number of the scoring is replaced by the next one.
            rows: Its images.
            rescored: Add another scoring to the batch for the reason in ``record``. If the last scoring has the same
                images, bank and reason, the call was made before, and that record is returned.

        Returns:
            The record with its number of the scoring.

        Raises:
            BatchExists: The name belongs to a batch with other images or another bank.
            RecordRefused: The counts do not match the images, a score is not finite, a path occurs twice, or there is
                no record of the bank or the data-set version.
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
        raise BatchExists(
            f"batch {record.batch!r} is recorded already",
            got="other images, or another bank",
            expected=f"what bank {last.category} {last.bank_version} scored at {last.scored_at}",
            remedy="choose another name for this batch, or score it again with --rescore",
        )

    def batch(self, batch: str, scoring: int | None = None) -> RecordedBatch | None:
        """Return a batch with its images: the last scoring, or the one with that number; None if there is none."""
        which = [batches.c.batch == batch]
        if scoring is not None:
            which.append(batches.c.scoring == scoring)
        query = select(batches).where(*which).order_by(batches.c.scoring.desc()).limit(1)
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
            if row is None:
                return None
            mine = images.c.scored_batch == row["sequence"]
            # Sorted here: the order in the database may depend on its language.
            rows = sorted(all_records(connection, ImageScore, images, mine), key=lambda image: image.path)
            archived = not rows and row["received"] > 0 and _is_archived(connection, row["sequence"])
        return RecordedBatch(as_record(BatchRecord, row), tuple(rows), row["sequence"], archived)

    def scorings(self, batch: str) -> list[BatchRecord]:
        """Return every scoring of a batch, oldest first."""
        with self._database.reading() as connection:
            return _scorings(connection, batch)

    def image(self, sha256: str) -> list[ImageRecord]:
        """Return every scoring of an image, oldest first; those in archives are not included."""
        names = (batches.c[field.name].label(f"batch_{field.name}") for field in fields(BatchRecord))
        scores = (images.c[field.name] for field in fields(ImageScore))
        query = select(*names, *scores).join_from(batches, images, images.c.scored_batch == batches.c.sequence)
        with self._database.reading() as connection:
            rows = connection.execute(query.where(images.c.sha256 == sha256).order_by(images.c.sequence)).mappings()
            return [ImageRecord(_batch_of(row), as_record(ImageScore, row)) for row in rows]

    def batches_of_bank(self, category: str, version: int) -> list[BatchRecord]:
        """Return every scoring by a bank version, oldest first."""
        with self._database.reading() as connection:
            scored = (batches.c.category == category, batches.c.bank_version == version)
            return all_records(connection, BatchRecord, batches, *scored)

    def scored_by(self, category: str, version: int) -> list[ScoredBatch]:
        """Return every scoring by a bank version with its counts of anomalous and overridden images, oldest first."""
        by_bank = and_(batches.c.category == category, batches.c.bank_version == version)
        with self._database.reading() as connection:
            rows = connection.execute(select(batches).where(by_bank).order_by(batches.c.sequence)).mappings().all()
            anomalous, overridden = _anomalous(connection, by_bank), _overridden(connection, by_bank)
            moved = [tuple(row) for row in connection.execute(select(archives.c.first, archives.c.last))]
        found = []
        for row in rows:
            # The images of an archived batch are not here to be counted.
            archived = row["received"] and any(first <= row["sequence"] + 1 <= last for first, last in moved)
            count = None if archived else anomalous.get(row["sequence"], 0)
            found.append(ScoredBatch(as_record(BatchRecord, row), count, overridden.get(row["sequence"], 0)))
        return found

    def record_override(
        self, batch: str, path: str, *, anomalous: bool, reason: str, who: str, scoring: int | None = None
    ) -> Override:
        """Record that a person overrides the decision about an image in the last scoring of a batch.

        Args:
            batch: The name of the batch.
            path: The path of the image, as recorded.
            anomalous: The new decision.
            reason: Why.
            who: The user who decides.
            scoring: The scoring that the user saw; None: the last one.

        Raises:
            CannotOverride: There is no such image with a score, its batch is in an archive, the decision is the same
                already, or the batch was scored again after that scoring.
        """
        with self._database.writing() as connection:
            latest = select(batches).where(batches.c.batch == batch).order_by(batches.c.scoring.desc()).limit(1)
            scored = connection.execute(latest).mappings().first()
            old = None if scored is None else _decision(connection, scored["sequence"], path)
            if scored is not None and scoring not in {None, scored["scoring"]}:
                raise _no_override(batch, path, f"scoring {scored['scoring']} since", f"scoring {scoring} as the last")
            if scored is None or old is None or old == anomalous:
                archived = scored is not None and old is None and _is_archived(connection, scored["sequence"])
                raise _no_override(batch, path, _present_decision(old, archived=archived))
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
        """Return the overrides in a batch, oldest first."""
        query = select(overrides, batches.c.batch, batches.c.scoring)
        query = query.join_from(overrides, batches, overrides.c.scored_batch == batches.c.sequence)
        with self._database.reading() as connection:
            rows = connection.execute(query.where(batches.c.batch == batch).order_by(overrides.c.sequence)).mappings()
            return [as_record(Override, row) for row in rows]

    def overrides_of_image(self, sha256: str) -> list[Override]:
        """Return the overrides of an image by its digest, oldest first."""
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
        """Return scorings by the sequences of their records."""
        with self._database.reading() as connection:
            rows = connection.execute(select(batches).where(batches.c.sequence.in_(sequences))).mappings()
            return {row["sequence"]: as_record(BatchRecord, row) for row in rows}


def _is_same(known: BatchRecord, record: BatchRecord) -> bool:
    """Return whether a scoring is recorded already: the command was run again after a crash."""
    names = ("bank_sha256", "images_sha256", "reason")
    return all(getattr(known, name) == getattr(record, name) for name in names)


def _scorings(connection: Connection, batch: str) -> list[BatchRecord]:
    return all_records(connection, BatchRecord, batches, batches.c.batch == batch, order=batches.c.scoring)


def _anomalous(connection: Connection, condition: ColumnElement[bool]) -> dict[int, int]:
    """Count the images that the bank decided to be anomalous, by the sequence of their batch."""
    theirs = images.c.scored_batch.in_(select(batches.c.sequence).where(condition))
    # The partial index matches this exact condition.
    query = select(images.c.scored_batch, func.count()).where(theirs, text("anomalous = 1"))
    rows = connection.execute(query.group_by(images.c.scored_batch)).all()
    return {row[0]: row[1] for row in rows}


def _overridden(connection: Connection, condition: ColumnElement[bool]) -> dict[int, int]:
    """Count the overridden images by the sequence of their batch."""
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
    """Return the decision about an image: the last override, or the bank's; None if it has no score."""
    said = select(overrides.c.new).where(overrides.c.scored_batch == scored_batch, overrides.c.path == path)
    last = connection.scalar(said.order_by(overrides.c.sequence.desc()).limit(1))
    if last is not None:
        return bool(last)
    said_by_bank = select(images.c.anomalous).where(images.c.scored_batch == scored_batch, images.c.path == path)
    return connection.scalar(said_by_bank)


def _present_decision(old: bool | None, *, archived: bool) -> str:
    """Return why a decision cannot be changed."""
    if archived:
        return "its images are in an archive"
    return "no such image that was scored" if old is None else f"{'anomalous' if old else 'normal'} already"


def _no_override(
    batch: str, path: str, got: str, expected: str = "an image of the batch in the ledger, and another decision"
) -> CannotOverride:
    return CannotOverride(
        f"the decision about {path} in batch {batch} is not changed",
        got=got,
        expected=expected,
        remedy=f"look at it with: patchcore audit batch {batch}",
    )


def _require_agreement(record: BatchRecord, rows: Sequence[ImageScore]) -> None:
    """Check that the counts and the digest of a batch match its images; the database checks each row.

    Raises:
        RecordRefused: They do not.
    """
    scores = [row.score for row in rows if row.score is not None]
    counted = (len(rows), len(scores), len(rows) - len(scores))
    stated = (record.received, record.scored, record.failed)
    contradictions = (
        (stated != counted, f"received, scored, failed {stated}", str(counted)),
        (not all(map(math.isfinite, scores)), "a score that is not a finite number", "finite scores"),
        (
            images_digest((row.path, row.sha256) for row in rows) != record.images_sha256,
            "a digest that is not that of the images",
            "the digest of path and sha256 of every image",
        ),
    )
    for wrong, got, expected in contradictions:
        if wrong:
            what = f"batch {record.batch!r} does not agree with its images"
            raise RecordRefused(what, got=got, expected=expected, remedy="report this: it is an error in this library")
