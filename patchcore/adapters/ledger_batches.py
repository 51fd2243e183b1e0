"""Batches in the ledger: what was scored by which bank, one record an image."""

import math
from collections.abc import Sequence
from dataclasses import asdict, fields

from sqlalchemy import insert, select

from patchcore.adapters.ledger_database import Book, all_records, as_record, first_record
from patchcore.adapters.ledger_records import BatchRecord, ImageRecord, ImageScore, RecordedBatch, images_digest, now
from patchcore.adapters.ledger_tables import batches, images
from patchcore.errors import Refused


class Batches(Book):
    """Every batch that was scored, with its images."""

    def record_batch(self, record: BatchRecord, rows: Sequence[ImageScore]) -> BatchRecord:
        """Record a batch with all its images, or nothing.

        The same images scored by the same bank under the same name are recorded once: the first record is returned.

        Raises:
            Refused: the name stands for another batch, the counts do not agree with the images, a score is not a finite
                number, a path occurs twice, or the ledger does not know the bank or the data-set version.
        """
        _require_agreement(record, rows)
        with self._database.writing() as connection:
            known = first_record(connection, BatchRecord, batches, batch=record.batch)
            if known is None:
                values = {**asdict(record), "at": now()}
                number = connection.scalar(insert(batches).returning(batches.c.id), values)
                if rows:
                    connection.execute(insert(images), [{**asdict(row), "batch_id": number} for row in rows])
                return record
        if (known.bank_sha256, known.images_sha256) == (record.bank_sha256, record.images_sha256):
            return known
        raise Refused(
            f"batch {record.batch!r} is recorded already",
            got="other images, or another bank",
            expected=f"what bank {known.category} {known.bank_version} scored at {known.scored_at}",
            remedy="give this batch a name of its own",
        )

    def batch(self, batch: str) -> RecordedBatch | None:
        """Return a batch with its images."""
        with self._database.reading() as connection:
            number = connection.scalar(select(batches.c.id).where(batches.c.batch == batch))
            record = first_record(connection, BatchRecord, batches, batch=batch)
            if record is None:
                return None
            rows = all_records(connection, ImageScore, images, images.c.batch_id == number, order=images.c.path)
        return RecordedBatch(record, tuple(rows))

    def image(self, sha256: str) -> list[ImageRecord]:
        """Return every scoring of an image, the first one first."""
        names = (batches.c[field.name] for field in fields(BatchRecord))
        scores = (images.c[field.name] for field in fields(ImageScore))
        query = select(*names, *scores).join_from(batches, images).where(images.c.sha256 == sha256)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(images.c.id)).mappings()
            return [ImageRecord(as_record(BatchRecord, row), as_record(ImageScore, row)) for row in rows]

    def batches_of_bank(self, category: str, version: int) -> list[BatchRecord]:
        """Return every batch that a bank version scored, the first one first."""
        with self._database.reading() as connection:
            scored = (batches.c.category == category, batches.c.bank_version == version)
            return all_records(connection, BatchRecord, batches, *scored)


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
