"""Comparing the decisions of two banks about the batches that both of them scored."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, Integer, Row, and_, bindparam, func, select, type_coerce

from patchcore.adapters.ledger.database import LedgerRepository
from patchcore.adapters.ledger.tables import archives, batches, images

# Each query names one pair of scorings. With a free choice the planner would look for each image in every batch, which
# takes minutes if batches share their file names.
_one, _other = images.alias("one"), images.alias("other")
_same_image = and_(
    _one.c.scored_batch == bindparam("first"),
    _other.c.scored_batch == bindparam("second"),
    _one.c.path == _other.c.path,
    # The concatenation prevents the index of digests: one image can be in every batch.
    _one.c.sha256.concat("") == _other.c.sha256.concat(""),
)
_both_scored = and_(_one.c.score.is_not(None), _other.c.score.is_not(None))
_differ = type_coerce(_one.c.anomalous, Integer) != type_coerce(_other.c.anomalous, Integer)
_count = select(func.count()).select_from(_one).join(_other, _same_image).where(_both_scored)
_differing = (
    select(_one.c.path, _one.c.sha256, _one.c.score, _one.c.anomalous, _other.c.score, _other.c.anomalous)
    .join_from(_one, _other, _same_image)
    .where(_differ)
    .order_by(_one.c.path)
)


@dataclass(frozen=True)
class Disagreement:
    """An image that two banks decided differently.

    Attributes:
        batch: The name of the batch.
        path: The path of the image, as recorded.
        sha256: The digest of the image.
        first_score: The score by the first bank.
        first_anomalous: The decision of the first bank.
        second_score: The score by the second bank.
        second_anomalous: The decision of the second bank.
    """

    batch: str
    path: str
    sha256: str
    first_score: float
    first_anomalous: bool
    second_score: float
    second_anomalous: bool


@dataclass(frozen=True)
class Comparison:
    """The decisions of two banks about the images of batches that both scored.

    Attributes:
        batches: The names of the batches that were compared.
        archived: The names of the batches with a scoring in an archive; those are not compared.
        compared: The number of images that both banks scored.
        disagreements: The images that they decided differently.
    """

    batches: tuple[str, ...]
    archived: tuple[str, ...]
    compared: int
    disagreements: tuple[Disagreement, ...]


class Comparisons(LedgerRepository):
    """Comparisons of banks."""

    def comparison(self, category: str, first: int, second: int) -> Comparison:
        """Compare the decisions of two bank versions about the images of batches that both scored.

        Every scoring of a batch counts. An image counts if both banks have a score for the same bytes at the same path
        and neither is in an archive.
        """
        with self._database.reading() as connection:
            pairs = _pairs(connection, category, first, second)
            here = [pair for pair in pairs if not pair.archived]
            compared = sum(_compared(connection, pair) for pair in here)
            differing = tuple(entry for pair in here for entry in _disagreements(connection, pair))
        archived = {pair.batch for pair in pairs if pair.archived}
        return Comparison(tuple(sorted({pair.batch for pair in here})), tuple(sorted(archived)), compared, differing)


def _pairs(connection: Connection, category: str, first: int, second: int) -> list[Row[Any]]:
    """Return every pair of a scoring by the first bank and one by the second bank of the same batch."""
    one, other = batches.alias("of_one"), batches.alias("of_other")
    both = and_(one.c.batch == other.c.batch, other.c.category == category, other.c.bank_version == second)
    same = and_(one.c.images_sha256 == other.c.images_sha256, one.c.failed == 0, other.c.failed == 0)
    archived = (_is_archived(one) | _is_archived(other)).label("archived")
    query = (
        select(one.c.batch, one.c.received, one.c.sequence.label("first"), other.c.sequence.label("second"))
        .add_columns(same.label("same"), archived)
        .join_from(one, other, both)
        .where(one.c.category == category, one.c.bank_version == first)
        .order_by(one.c.sequence, other.c.sequence)
    )
    return list(connection.execute(query))


def _is_archived(scoring: FromClause) -> ColumnElement[bool]:
    image = scoring.c.sequence + 1  # its first image
    holds = and_(archives.c.first <= image, archives.c.last >= image)
    return and_(scoring.c.received > 0, select(archives.c.sequence).where(holds).exists())


def _compared(connection: Connection, pair: Row[Any]) -> int:
    """Return the number of images that both banks scored: all, if the images are the same and none failed."""
    if pair.same:
        return int(pair.received)
    return int(connection.execute(_count, {"first": pair.first, "second": pair.second}).scalar_one())


def _disagreements(connection: Connection, pair: Row[Any]) -> Iterator[Disagreement]:
    for row in connection.execute(_differing, {"first": pair.first, "second": pair.second}):
        yield Disagreement(pair.batch, *row)
