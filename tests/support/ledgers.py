"""Ledgers for tests, on SQLite and on PostgreSQL, and functions that fill them with a few small records.

A test that asks for `ledger` or `ledger_url` runs once on each database. What the functions add is the same each time:
the sha256 of an image is `digest` of its name, that of bank 2 of bottle is `bank_digest("bottle", 2)`.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from patchcore.adapters.ledger import Ledger
from patchcore.adapters.ledger.records import (
    Action,
    BankRecord,
    BatchRecord,
    DatasetVersion,
    Decision,
    ImageScore,
    Member,
    images_digest,
)
from patchcore.adapters.ledger.tables import metadata
from patchcore.adapters.ledger.times import now
from patchcore.config.params_file import params_text
from patchcore.config.workspace import Workspace
from tests.support.places import REPOSITORY
from tests.support.postgresql import new_database

CATEGORY = "bottle"
THRESHOLD = 5.0


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger may be made: a SQLite file that does not exist yet, and an empty PostgreSQL database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state' / 'ledger.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    """An empty ledger, one on each database."""
    return Ledger(ledger_url)


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def filled_ledger_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a ledger is that `fill` filled, one on each database. Not to be changed."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('filled') / 'ledger.db'}"
        fill(Ledger(url))
        yield url
        return
    with new_database(request.getfixturevalue("postgresql_server")) as url:
        fill(Ledger(url))
        yield url


@pytest.fixture
def empty_workspace(tmp_path: Path) -> Workspace:
    """A workspace with the repository's parameters and nothing else."""
    workspace = Workspace(tmp_path / "workspace")
    workspace.root.mkdir()
    workspace.params.write_text(params_text(), encoding="utf-8")
    shutil.copy(REPOSITORY / "dvc.yaml", workspace.pipeline)
    return workspace


def copy_records(source: Ledger, target: Ledger) -> None:
    """Write the records of a ledger into an empty one, as they are: on another database it is the same chain."""
    with source._database.reading() as one, target._database.writing() as other:
        for table in metadata.sorted_tables:
            if rows := [dict(row) for row in one.execute(select(table)).mappings()]:
                other.execute(insert(table), rows)


def digest(name: str) -> str:
    """Return the sha256 that an image of this name has, whatever the folder."""
    return hashlib.sha256(name.encode()).hexdigest()


def bank_digest(category: str, version: int) -> str:
    """Return the sha256 of a bank that `add_bank` adds."""
    return digest(f"bank {version} of {category}")


def normal(name: str, category: str = CATEGORY) -> Member:
    """Return a normal image of a data set."""
    return Member(f"data/{category}/train/good/{name}", digest(name), "train")


def labelled(name: str, label: str = "good", category: str = CATEGORY) -> Member:
    """Return an image of the evaluation set."""
    return Member(f"data/{category}/test/{label}/{name}", digest(name), f"test/{label}")


def scored(name: str, score: float = 1.0, *, folder: str = "shift") -> ImageScore:
    """Return an image with a score, anomalous above `THRESHOLD`."""
    return ImageScore(f"{folder}/{name}", digest(name), score, 1 / (1 + score), score > THRESHOLD, None)


def unreadable(name: str, *, folder: str = "shift") -> ImageScore:
    """Return an image that could not be scored."""
    return ImageScore(f"{folder}/{name}", digest(name), None, None, None, "got a truncated file, expected an image")


def add_dataset(ledger: Ledger, images: Sequence[Member] = (), category: str = CATEGORY) -> DatasetVersion:
    """Add the data-set version that has these images."""
    return ledger.record_dataset(
        category,
        images_digest((image.path, image.sha256) for image in images),
        normals=sum(image.part == "train" for image in images),
        evaluation_images=sum(image.part != "train" for image in images),
        pointers={f"data/{category}/train.dvc": "outs:\n"},
        git_commit="c0",
        who="ann",
        images=images,
    )


def add_bank(ledger: Ledger, version: int, category: str = CATEGORY, dataset: int | None = None) -> BankRecord:
    """Add a bank that was built from a data-set version: the one of this number, else the latest."""
    built_from = ledger.latest_dataset(category) if dataset is None else ledger.dataset(category, dataset)
    assert built_from is not None, "add a data set first"
    return ledger.record_bank(
        category,
        version,
        bank_digest(category, version),
        dataset_version=built_from.number,
        dataset_sha256=built_from.sha256,
        run_id=f"run{version}",
        git_commit="c0",
        evaluation_sha256=digest("the labelled images"),
        metrics={"image_auroc": 0.1 + 0.2, "pixel_auroc": None},
    )


def decide(
    ledger: Ledger, version: int, action: Action = "promote", category: str = CATEGORY, **changes: Any
) -> Decision:
    """Add a decision about a bank, made against what is in production; ``changes`` replace what it would say."""
    production = ledger.production(category)
    values: dict[str, Any] = {
        "expected": production.decision if production else None,
        "reason": f"{action} {version}",
        "verdict": {"passed": action != "refuse", "reasons": ["passed: image AUROC 0.99 >= 0.9"]},
        "who": "ann",
        **changes,
    }
    return ledger.decide(category, action, version, bank_digest(category, version), **values)


def batch_record(
    ledger: Ledger, name: str, version: int, images: Sequence[ImageScore], category: str = CATEGORY, **changes: Any
) -> BatchRecord:
    """Return the record of a batch as a bank of the ledger scores it; ``changes`` replace what it would say."""
    bank = ledger.bank(category, version)
    assert bank is not None, "add the bank first"
    failed = sum(image.score is None for image in images)
    record = BatchRecord(
        batch=name,
        scoring=1,
        category=category,
        bank_version=version,
        bank_sha256=bank.sha256,
        dataset_version=bank.dataset_version,
        dataset_sha256=bank.dataset_sha256,
        threshold=THRESHOLD,
        false_alarm_rate=0.05,
        calibration_images=19,
        images_sha256=images_digest((image.path, image.sha256) for image in images),
        received=len(images),
        scored=len(images) - failed,
        failed=failed,
        runtime="torch float32",
        code_version="0.1.0",
        who="ann",
        scored_at=now(),
        run_id=bank.run_id,
        flow_run_id=None,
        reason=None,
    )
    return replace(record, **changes)


def add_batch(
    ledger: Ledger, name: str, version: int, images: Iterable[ImageScore], *, category: str = CATEGORY, **changes: Any
) -> BatchRecord:
    """Add a batch that a bank scored; with a ``reason`` it is one more scoring of a batch that is there."""
    rows = list(images)
    record = batch_record(ledger, name, version, rows, category, **changes)
    return ledger.record_batch(record, rows, rescored=record.reason is not None)


def fill(ledger: Ledger) -> Ledger:
    """Add two years in short: a bad image among the normal images, and what the bank built from it passed.

    Data-set version 1 of bottle has normal images one and two, version 2 also three (the bad one), version 3 no longer
    has it. Banks 1, 2 and 3 were built from them. Bank 1 scored batch monday, bank 2 monday again and tuesday; bank 3
    was refused, then proposed and approved. Image scratch.png was anomalous for bank 1 and normal for bank 2.
    """
    normals, evaluation = [normal("one.png"), normal("two.png")], [labelled("good.png"), labelled("bad.png", "scratch")]
    for number, more in enumerate(([], [normal("three.png")], []), start=1):
        if number == 3:
            evaluation = [*evaluation, labelled("new.png", "scratch")]
        add_dataset(ledger, [*normals, *more, *evaluation])
        add_bank(ledger, number)
    decide(ledger, 1)
    add_batch(ledger, "monday", 1, [scored("fine.png", 1.5), scored("scratch.png", 7.0), unreadable("torn.png")])
    ledger.record_event(CATEGORY, "ingest", {"taken": 1}, who="bob")
    decide(ledger, 2, who="bob")
    again = [scored("fine.png", 1.25), scored("scratch.png", 2.0), unreadable("torn.png")]
    add_batch(ledger, "monday", 2, again, reason="a new bank")
    add_batch(ledger, "tuesday", 2, [scored("late.png", 3.0)])
    ledger.record_override("monday", "shift/scratch.png", anomalous=True, reason="I can see it", who="eve")
    decide(ledger, 3, "refuse")
    proposal = decide(ledger, 3, "propose")
    decide(ledger, 3, who="eve", proposal=proposal.sequence)
    ledger.record_event(CATEGORY, "reconcile", {"was": 2, "is": 3}, who="bob")
    return ledger
