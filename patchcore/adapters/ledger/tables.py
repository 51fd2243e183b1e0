"""The ledger's tables. Rows are added and never changed; only images may move to archives.

The chain has one link for each row of the other tables. The name of a table is the kind of its records.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.sqlite import REAL

from patchcore.adapters.ledger.column_types import Flag, JsonText


def _exact_real() -> Any:
    return Double().with_variant(REAL(), "sqlite")  # 8 bytes: a score keeps all its bits


def _long() -> Any:
    return BigInteger().with_variant(Integer(), "sqlite")


def _sequence() -> Column[int]:
    return Column("sequence", _long(), ForeignKey("chain.sequence"), primary_key=True, autoincrement=False)


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def _count(name: str) -> Column[int]:
    return Column(name, Integer, CheckConstraint(f"{name} >= 0"), nullable=False)


def _version(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, Integer, CheckConstraint(f"{name} >= 1"), nullable=nullable)


def _flag(name: str, *, nullable: bool = False) -> Column[bool]:
    return Column(name, Flag, CheckConstraint(f'"{name}" IN (0, 1)'), nullable=nullable)


_OPTIONS: dict[str, Any] = {"sqlite_strict": True}
metadata = MetaData()

chain = Table(
    "chain",
    metadata,
    Column("sequence", _long(), primary_key=True, autoincrement=False),
    _text("kind"),
    Column("content", LargeBinary, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    CheckConstraint("sequence >= 1"),
    **_OPTIONS,
)

datasets = Table(
    "datasets",
    metadata,
    _sequence(),
    _text("category"),
    _version("number"),
    _text("sha256"),
    _count("normals"),
    _count("evaluation_images"),
    Column("pointers", JsonText, nullable=False),
    _text("git_commit", nullable=True),
    _text("who"),
    _text("at"),
    UniqueConstraint("category", "sha256"),
    UniqueConstraint("category", "number"),
    UniqueConstraint("category", "number", "sha256"),
    **_OPTIONS,
)

# The images that a data-set version added to the version before it, and those that it removed.
members = Table(
    "members",
    metadata,
    _sequence(),
    Column("dataset", _long(), ForeignKey("datasets.sequence"), nullable=False),
    _text("path"),
    _text("sha256"),
    _text("part"),
    _flag("added"),
    UniqueConstraint("dataset", "path", "sha256", "part"),
    Index("members_by_sha256", "sha256"),
    **_OPTIONS,
)


def _of_dataset() -> ForeignKeyConstraint:
    names = ("category", "number", "sha256")
    return ForeignKeyConstraint(["category", "dataset_version", "dataset_sha256"], [datasets.c[name] for name in names])


banks = Table(
    "banks",
    metadata,
    _sequence(),
    _text("category"),
    _version("version"),
    _text("sha256"),
    _version("dataset_version"),
    _text("dataset_sha256"),
    _text("run_id"),
    _text("git_commit", nullable=True),
    _text("at"),
    # The metrics and the evaluation set that they were measured on.
    _text("evaluation_sha256", nullable=True),
    Column("metrics", JsonText),
    UniqueConstraint("category", "version"),
    UniqueConstraint("category", "version", "sha256"),
    _of_dataset(),
    **_OPTIONS,
)


def _of_bank(version: str) -> ForeignKeyConstraint:
    names = ("category", "version", "sha256")
    return ForeignKeyConstraint(["category", version, "bank_sha256"], [banks.c[name] for name in names])


decisions = Table(
    "decisions",
    metadata,
    _sequence(),
    _text("category"),
    Column("action", Text, CheckConstraint("action IN ('promote', 'refuse', 'rollback', 'propose')"), nullable=False),
    _version("from_version", nullable=True),
    _version("to_version"),
    _text("bank_sha256"),
    _text("reason"),
    _flag("forced"),
    Column("verdict", JsonText, nullable=False),
    Column("proposal", _long(), ForeignKey("decisions.sequence")),
    _text("who"),
    _text("at"),
    _of_bank("to_version"),
    Index("decisions_of_category", "category", "sequence"),
    **_OPTIONS,
)

batches = Table(
    "batches",
    metadata,
    _sequence(),
    _text("batch"),
    _version("scoring"),
    _text("category"),
    _version("bank_version"),
    _text("bank_sha256"),
    _version("dataset_version"),
    _text("dataset_sha256"),
    Column("threshold", _exact_real(), nullable=False),
    Column("false_alarm_rate", _exact_real(), nullable=False),
    Column("calibration_images", Integer, CheckConstraint("calibration_images >= 0")),
    _text("images_sha256"),
    _count("received"),
    _count("scored"),
    _count("failed"),
    _text("runtime"),
    _text("code_version"),
    _text("who"),
    _text("scored_at"),
    _text("run_id"),
    _text("flow_run_id", nullable=True),
    _text("reason", nullable=True),
    _text("at"),
    UniqueConstraint("batch", "scoring"),
    CheckConstraint("received = scored + failed"),
    _of_bank("bank_version"),
    _of_dataset(),
    CheckConstraint("(scoring = 1) = (reason IS NULL)"),
    Index("batches_of_bank", "category", "bank_version"),
    **_OPTIONS,
)

_ANOMALOUS = text("anomalous = 1")

images = Table(
    "images",
    metadata,
    _sequence(),
    Column("scored_batch", _long(), ForeignKey("batches.sequence"), nullable=False),
    _text("path"),
    _text("sha256", nullable=True),
    Column("score", _exact_real()),
    Column("p_value", _exact_real(), CheckConstraint("p_value BETWEEN 0 AND 1")),
    _flag("anomalous", nullable=True),
    _text("reason", nullable=True),
    UniqueConstraint("scored_batch", "path"),
    CheckConstraint("(score IS NULL) = (reason IS NOT NULL)"),
    CheckConstraint("(score IS NULL) = (p_value IS NULL) AND (score IS NULL) = (anomalous IS NULL)"),
    CheckConstraint("sha256 IS NOT NULL OR reason IS NOT NULL"),
    Index("images_by_sha256", "sha256"),
    # Counts anomalous images without reading the normal ones.
    Index("images_anomalous", "scored_batch", sqlite_where=_ANOMALOUS, postgresql_where=_ANOMALOUS),
    **_OPTIONS,
)

# An override refers to its image by batch and path, because the image may be in an archive.
overrides = Table(
    "overrides",
    metadata,
    _sequence(),
    Column("scored_batch", _long(), ForeignKey("batches.sequence"), nullable=False),
    _text("path"),
    _flag("old"),
    _flag("new"),
    _text("reason"),
    _text("who"),
    _text("at"),
    CheckConstraint('"old" <> "new"'),
    Index("overrides_of_batch", "scored_batch"),
    **_OPTIONS,
)

events = Table(
    "events",
    metadata,
    _sequence(),
    _text("category"),
    _text("action"),
    Column("summary", JsonText, nullable=False),
    _text("who"),
    _text("at"),
    Index("events_of_category", "category", "action"),
    **_OPTIONS,
)

checkpoints = Table(
    "checkpoints",
    metadata,
    _sequence(),
    Column("size", _long(), CheckConstraint("size >= 1"), nullable=False, unique=True),
    _text("head"),
    _text("root"),
    Column("peaks", JsonText, nullable=False),  # with them the next checkpoint needs only the new records
    _text("key", nullable=True),
    _text("signature", nullable=True),
    _text("at"),
    **_OPTIONS,
)

archives = Table(
    "archives",
    metadata,
    _sequence(),
    Column("first", _long(), nullable=False),
    Column("last", _long(), nullable=False),
    _count("images"),
    _text("name"),
    _text("sha256"),
    _text("who"),
    _text("at"),
    CheckConstraint('"first" <= "last"'),
    **_OPTIONS,
)

KINDS: dict[str, Table] = {table.name: table for table in metadata.sorted_tables if table is not chain}
"""The table of each kind of record; a table comes after those that it refers to."""
