"""The result folder of a scored batch, which appears as a whole: results.json, results.parquet and the pictures."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from patchcore._util.files import show_folder, staging, write_json
from patchcore.adapters.ledger.records import BatchRecord, RecordedBatch
from patchcore.config.workspace import RESULTS, RESULTS_TABLE, Workspace
from patchcore.errors import CannotWrite
from patchcore.lifecycle.batch_results import batch_results

_NULLABLE = {"anomalous": "boolean", "calibration_images": "Int64", "score": "float64", "p_value": "float64"}


@contextmanager
def staged_results(workspace: Workspace, batch: str) -> Iterator[Path]:
    """Yield a hidden folder to write the results of a batch into; `publish` makes it visible.

    Raises:
        CannotWrite: The folder cannot be written.
    """
    place = workspace.batch(batch).parent
    try:
        with staging(place, batch) as folder:
            yield folder
    except OSError as error:
        raise CannotWrite(
            f"the results of batch {batch} cannot be written to {place}",
            got=error.strerror or str(error),
            expected="a folder that can be written",
            remedy="free space or fix the permissions, then run the same command again",
        ) from error


def publish(folder: Path, workspace: Workspace, batch: RecordedBatch, scorings: Sequence[BatchRecord]) -> None:
    """Add the table and the JSON of a batch to a staged folder, and make it the result folder of the scoring.

    Args:
        folder: The folder of `staged_results`, with the pictures.
        workspace: The workspace.
        batch: The batch, as the ledger has it.
        scorings: Every scoring of the batch up to this one.
    """
    write_json(folder / RESULTS, batch_results(batch, scorings).model_dump(mode="json"))
    _write_table(folder / RESULTS_TABLE, batch)
    show_folder(folder, workspace.batch(batch.record.batch, batch.record.scoring))


def _write_table(path: Path, batch: RecordedBatch) -> None:
    """Write one row for each image, with all that is recorded of the batch.

    ``reason`` is why the image could not be scored, ``rescore_reason`` why the batch was scored again.
    """
    import pandas as pd

    record = asdict(batch.record)
    rows = [{**record, **asdict(image), "rescore_reason": batch.record.reason} for image in batch.images]
    pd.DataFrame(rows).astype(_NULLABLE).to_parquet(path, index=False)
