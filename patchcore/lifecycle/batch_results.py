"""The results of a scored batch as commands return them: typed, frozen, with the keys of the JSON output."""

from collections.abc import Sequence
from dataclasses import asdict

from patchcore._util.model import Model
from patchcore.adapters.ledger.records import BatchRecord, ImageScore, RecordedBatch


class ScoringFields(Model):
    """What is recorded of one scoring of a batch: the fields of `BatchRecord`, without the number of failed files.

    Attributes:
        batch: The name of the batch.
        scoring: Which scoring of the batch this is, from 1.
        category: The kind of part.
        bank_version: The bank version that scored it.
        bank_sha256: The digest of that bank.
        dataset_version: The data-set version that the bank was built from.
        dataset_sha256: The digest of that data-set version.
        threshold: An image with a higher score is anomalous.
        false_alarm_rate: The share of normal images that the threshold calls anomalous.
        calibration_images: The number of normal images that the threshold was set on.
        images_sha256: The digest of the paths and digests of all images.
        received: The number of files.
        scored: The number of images with a score.
        runtime: The runtime and precision that computed the features.
        code_version: The version of this library.
        who: The user who ran the command.
        scored_at: The time of the scoring.
        run_id: The MLflow run that built the bank.
        flow_run_id: The Prefect run that scored the batch; None outside Prefect.
        reason: Why the batch was scored again; None for the first scoring.
    """

    batch: str
    scoring: int
    category: str
    bank_version: int
    bank_sha256: str
    dataset_version: int
    dataset_sha256: str
    threshold: float
    false_alarm_rate: float
    calibration_images: int | None
    images_sha256: str
    received: int
    scored: int
    runtime: str
    code_version: str
    who: str
    scored_at: str
    run_id: str
    flow_run_id: str | None
    reason: str | None


class ScoredImage(Model):
    """An image with its score.

    Attributes:
        path: Where the file was, relative to the workspace if it was below it.
        sha256: The digest of the file.
        score: The anomaly score.
        p_value: The share of calibration images with at least this score.
        anomalous: Whether the score exceeds the threshold.
    """

    path: str
    sha256: str
    score: float
    p_value: float
    anomalous: bool


class FailedImage(Model):
    """A file that could not be scored.

    Attributes:
        path: Where the file was.
        sha256: The digest of the file; None if no byte could be read.
        reason: Why it could not be scored.
    """

    path: str
    sha256: str | None
    reason: str


class BatchResults(ScoringFields):
    """A batch with its images and all its scorings.

    Attributes:
        images: The images that were scored, by their paths.
        failed: The files that could not be scored, by their paths.
        scorings: Every scoring of the batch, the first one first.
    """

    images: tuple[ScoredImage, ...]
    failed: tuple[FailedImage, ...]
    scorings: tuple[BatchRecord, ...]


def batch_results(batch: RecordedBatch, scorings: Sequence[BatchRecord]) -> BatchResults:
    """Return a recorded batch with all its scorings."""
    record = asdict(batch.record)
    del record["failed"]
    return BatchResults(
        **record,
        images=tuple(_scored(image) for image in batch.images if image.reason is None),
        failed=tuple(_failed(image) for image in batch.images if image.reason is not None),
        scorings=tuple(scorings),
    )


def _scored(image: ImageScore) -> ScoredImage:
    return ScoredImage.model_validate({name: getattr(image, name) for name in ScoredImage.model_fields})


def _failed(image: ImageScore) -> FailedImage:
    return FailedImage.model_validate({name: getattr(image, name) for name in FailedImage.model_fields})
