"""What a scored batch looks like outside the ledger: JSON, a table, and a folder that appears as a whole."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from patchcore._util.files import show_folder, staging, write_json
from patchcore.adapters.ledger.records import BatchRecord, ImageScore, RecordedBatch
from patchcore.config.workspace import RESULTS, RESULTS_TABLE, Workspace
from patchcore.errors import Fault

_NULLABLE = {"anomalous": "boolean", "calibration_images": "Int64", "score": "float64", "p_value": "float64"}


def as_json(recorded_batch: RecordedBatch) -> dict[str, Any]:
    """Return a batch by the names of the command's contract."""
    record = asdict(recorded_batch.record)
    scored = [asdict(image) for image in recorded_batch.images if image.reason is None]
    failed = [image for image in recorded_batch.images if image.reason is not None]
    return {
        **record,
        "images": [{key: value for key, value in image.items() if key != "reason"} for image in scored],
        "failed": [{"path": image.path, "sha256": image.sha256, "reason": image.reason} for image in failed],
    }


def with_scorings(recorded_batch: RecordedBatch, scorings: Sequence[BatchRecord]) -> dict[str, Any]:
    """Return a batch by the names of the contract, and how often it was scored, each time by whom and why."""
    return {**as_json(recorded_batch), "scorings": [asdict(record) for record in scorings]}


def image_record(batch: BatchRecord, image: ImageScore) -> dict[str, Any]:
    """Return all that is recorded of one scoring of an image.

    ``reason`` is why it could not be scored, ``rescore_reason`` why its batch was scored again.
    """
    return {**asdict(batch), **asdict(image), "rescore_reason": batch.reason}


@contextmanager
def staged_results(workspace: Workspace, batch: str) -> Iterator[Path]:
    """Yield a folder to draw the results of a batch in, which nobody sees: `publish` shows it.

    Raises:
        Fault: it cannot be written.
    """
    place = workspace.batch(batch).parent
    try:
        with staging(place, batch) as folder:
            yield folder
    except OSError as error:
        raise Fault(
            f"the results of batch {batch} cannot be written to {place}",
            got=error.strerror or str(error),
            expected="a folder that can be written",
            remedy="make room, then run the same command again",
        ) from error


def publish(folder: Path, workspace: Workspace, recorded_batch: RecordedBatch, scorings: Sequence[BatchRecord]) -> None:
    """Write a batch's table and JSON beside what was drawn, and show all of it in the scoring's folder at once."""
    record = recorded_batch.record
    write_json(folder / RESULTS, with_scorings(recorded_batch, scorings))
    _write_table(folder / RESULTS_TABLE, recorded_batch)
    show_folder(folder, workspace.batch(record.batch, record.scoring))


def _write_table(path: Path, batch: RecordedBatch) -> None:
    import pandas as pd

    table = pd.DataFrame([image_record(batch.record, image) for image in batch.images])
    table.astype(_NULLABLE).to_parquet(path, index=False)
