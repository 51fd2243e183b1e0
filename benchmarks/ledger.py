"""A ledger of a million image records, on SQLite and on PostgreSQL: appending, every audit query, verifying the chain.

A plant in miniature: 50 data-set versions and banks, 1,000 batches of 1,000 images, overrides, batches that were scored
again. The times are without the start of a process; the last row has an example with it.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common import Table, alone, timed
from patchcore.adapters.ledger import Ledger
from patchcore.adapters.ledger.records import BatchRecord, ImageScore, Member, images_digest
from patchcore.adapters.ledger.times import now
from patchcore.lifecycle import audit
from patchcore.lifecycle.evidence import exporting
from patchcore.lifecycle.services import Services, open_services
from patchcore.lifecycle.setup.create import init

CATEGORY, BANKS, NORMALS = "bottle", 50, 2000
IMAGES = 1000  # of a batch
AGAIN, OVERRIDDEN = 20, 50  # batches scored by two banks, and batches with an override


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=1000, help=f"of {IMAGES} images each")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    options = parser.parse_args()
    columns: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder, alone():
        for database in options.database or ["sqlite", "postgresql"]:
            with _url(database, Path(folder)) as url:
                os.environ["PATCHCORE_LEDGER_URL"] = url
                columns[database] = _measure(Path(folder) / database, options.batches)
    _show(columns, options.batches)


def _measure(folder: Path, batches: int) -> dict[str, float]:
    services = open_services(init(folder).root)
    appended = _fill(services.ledger, batches)
    found = {
        f"append a batch of {IMAGES:,} images: median": statistics.median(appended),
        "append: the slowest": max(appended),
        "append: median of the last hundred": statistics.median(appended[-100:]),
    }
    for name, query in _queries(services, batches).items():
        found[name] = timed(query)
    started = time.perf_counter()
    verification = services.ledger.verify()
    found[f"verify the whole chain, {verification.records:,} records"] = time.perf_counter() - started
    if not verification.ok:
        raise SystemExit(f"the ledger is not sound: {verification.problems[:3]}")
    started = time.perf_counter()
    exporting.export(services, folder / "export", batch=_name(batches // 2), file_format="parquet")
    found["export a batch with its proof"] = time.perf_counter() - started
    found["`patchcore audit batch`, the process as a whole"] = timed(lambda: _command(folder, batches), rounds=3)
    return found


def _queries(services: Services, batches: int) -> dict[str, Callable[[], object]]:
    middle, last = _name(batches // 2), BANKS - 1
    bad = _sha256("normal", NORMALS // 2)
    seen = _sha256(_name(3), 7)
    return {
        "audit batch": lambda: audit.batch(services, middle),
        "audit batch, with the images of its data set": lambda: audit.batch(services, middle, images=True),
        "audit bank: a recall": lambda: audit.bank(services, CATEGORY, last),
        "audit normal: the banks that contain it, their batches": lambda: audit.normal(services, bad),
        "audit image: its scores over time": lambda: audit.image(services, seen),
        "audit at: production at a time": lambda: audit.at(services, CATEGORY, now()),
        "audit history": lambda: audit.history(services, CATEGORY),
        f"audit compare: two banks over {AGAIN} batches": lambda: audit.compare(services, CATEGORY, 1, 2),
        "audit completeness": lambda: audit.completeness(services, middle),
        "audit dataset": lambda: audit.dataset(services, CATEGORY, BANKS),
    }


def _fill(ledger: Ledger, batches: int) -> list[float]:
    """Fill a ledger, and return the seconds that each batch took."""
    taken = []
    for number in range(BANKS):
        _bank(ledger, number)
        for batch in range(number * batches // BANKS, (number + 1) * batches // BANKS):
            taken.append(_score(ledger, _name(batch), number + 1))
            if batch % (max(1, batches // OVERRIDDEN)) == 0:
                path = f"line/{_name(batch)}/{5:04}.png"
                ledger.record_override(_name(batch), path, anomalous=True, reason="a scratch", who="eve")
    for batch in range(AGAIN):
        taken.append(_score(ledger, _name(batch), 2, reason="a bank that knows more"))
    return taken


def _bank(ledger: Ledger, number: int) -> None:
    normals = range(number * 10, NORMALS + number * 20)  # some are removed, more are added
    members = [Member(f"data/bottle/train/good/{image:05}.png", _sha256("normal", image), "train") for image in normals]
    sha256 = images_digest((member.path, member.sha256) for member in members)
    kept: dict[str, Any] = {"pointers": {}, "git_commit": None, "who": "ann", "images": members}
    dataset = ledger.record_dataset(CATEGORY, sha256, normals=len(members), evaluation_images=0, **kept)
    version, bank = number + 1, _sha256("bank", number + 1)
    built_from: dict[str, Any] = {"dataset_version": dataset.number, "dataset_sha256": dataset.sha256}
    measured: dict[str, Any] = {"evaluation_sha256": _sha256("evaluation", 0), "metrics": {"image_auroc": 0.99}}
    ledger.record_bank(CATEGORY, version, bank, run_id="run", git_commit=None, **built_from, **measured)
    production = ledger.production(CATEGORY)
    expected = production.decision if production else None
    ledger.decide(CATEGORY, "promote", version, bank, expected=expected, reason="retrained", verdict={}, who="ann")


def _score(ledger: Ledger, name: str, version: int, reason: str | None = None) -> float:
    rows = [
        ImageScore(f"line/{name}/{image:04}.png", _sha256(name, image), version + image / 7, 0.5, image % 50 == 0, None)
        for image in range(IMAGES)
    ]
    if reason:  # the other bank decides otherwise about a few
        rows = [row if number % 100 else _otherwise(row) for number, row in enumerate(rows)]
    bank = ledger.bank(CATEGORY, version)
    if bank is None:
        raise SystemExit(f"bank {version} was not recorded")
    record = BatchRecord(
        batch=name,
        scoring=1,
        category=CATEGORY,
        bank_version=version,
        bank_sha256=bank.sha256,
        dataset_version=bank.dataset_version,
        dataset_sha256=bank.dataset_sha256,
        threshold=100.0,
        false_alarm_rate=0.05,
        calibration_images=400,
        images_sha256=images_digest((row.path, row.sha256) for row in rows),
        received=IMAGES,
        scored=IMAGES,
        failed=0,
        runtime="openvino float32",
        code_version="0.1.0",
        who="line",
        scored_at=now(),
        run_id="run",
        flow_run_id="flow",
        reason=reason,
    )
    started = time.perf_counter()
    ledger.record_batch(record, rows, rescored=reason is not None)
    return time.perf_counter() - started


def _otherwise(row: ImageScore) -> ImageScore:
    return ImageScore(row.path, row.sha256, row.score, row.p_value, not row.anomalous, None)


def _command(folder: Path, batches: int) -> None:
    command = [str(Path(sys.executable).with_name("patchcore")), "audit", "batch", _name(batches // 2), "--json"]
    subprocess.run([*command, "--workspace", str(folder)], check=True, capture_output=True)


def _name(batch: int) -> str:
    return f"batch-{batch:05}"


def _sha256(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@contextmanager
def _url(database: str, folder: Path) -> Iterator[str]:
    if database == "sqlite":
        yield f"sqlite:///{folder / 'ledger.db'}"
        return
    from tests.support.postgresql import new_database, running_server

    with running_server() as server, new_database(server) as url:
        yield url


def _show(columns: dict[str, dict[str, float]], batches: int) -> None:
    table = Table(f"A ledger of {(batches + AGAIN) * IMAGES:,} image records, seconds", "", *columns)
    names = {name: None for found in columns.values() for name in found}
    for name in names:
        table.add(name, *(found.get(name, "") for found in columns.values()))
    table.show()


if __name__ == "__main__":
    main()
