"""The results of the questions about the past, one model per command."""

from collections.abc import Mapping
from typing import Literal

from patchcore._util.model import Model
from patchcore.adapters.ledger.records import (
    BankRecord,
    BatchRecord,
    DatasetVersion,
    Decision,
    Member,
    Override,
)
from patchcore.lifecycle.batch_results import BatchResults, ScoringFields


class DatasetImages(Model):
    """The images of a data-set version.

    Attributes:
        count: The number of images.
        images: The images; null if they are not listed or were not recorded.
    """

    count: int
    images: tuple[Member, ...] | None


class BatchAnswer(BatchResults):
    """The result of `patchcore audit batch`.

    Attributes:
        archived: Whether images of the batch are in an archive that is not here.
        overrides: The overrides of the batch's images, oldest first.
        bank: The record of the bank version that scored the batch.
        dataset: The data-set version that the bank was built from.
        dataset_images: The images of that data-set version.
        promotion: The last decision before the scoring that brought the bank to production; null if there was none.
    """

    archived: bool
    overrides: tuple[Override, ...]
    bank: BankRecord
    dataset: DatasetVersion | None
    dataset_images: DatasetImages | None
    promotion: Decision | None


class DatasetAnswer(Model):
    """The result of `patchcore audit dataset`.

    Attributes:
        category: The category.
        number: The number of the data-set version.
        sha256: Its digest.
        normals: The number of normal images.
        evaluation_images: The number of labelled images.
        pointers: The text of each DVC pointer by its path.
        git_commit: The commit of the workspace; null if there was none.
        who: The user who made the version.
        at: The time when it was recorded, in UTC.
        banks: The bank versions that were built from it.
        dataset_images: Its images.
    """

    category: str
    number: int
    sha256: str
    normals: int
    evaluation_images: int
    pointers: Mapping[str, str]
    git_commit: str | None
    who: str
    at: str
    banks: tuple[int, ...]
    dataset_images: DatasetImages


class ImageScoring(ScoringFields):
    """One scoring of an image, with the fields of the scoring of its batch.

    Attributes:
        failed: The number of files of the batch that could not be scored.
        reason: Why the image could not be scored; null if it has a score.
        path: The path of the image, as recorded.
        sha256: The digest of the image.
        score: The anomaly score; null if it could not be scored.
        p_value: The p-value of the score; null if it could not be scored.
        anomalous: The decision of the bank; null if it could not be scored.
        rescore_reason: Why the batch was scored again; null for the first scoring.
        overrides: The overrides of this decision, oldest first.
    """

    failed: int
    path: str
    sha256: str | None
    score: float | None
    p_value: float | None
    anomalous: bool | None
    rescore_reason: str | None
    overrides: tuple[Override, ...]


class ImageAnswer(Model):
    """The result of `patchcore audit image`.

    Attributes:
        sha256: The digest of the image.
        records: Every scoring of the image, oldest first.
        archives_missing: The names of archives that are not here; they may hold more scorings.
    """

    sha256: str
    records: tuple[ImageScoring, ...]
    archives_missing: tuple[str, ...]


class ScoredBatchAnswer(ScoringFields):
    """A scoring by a bank, with its counts.

    Attributes:
        failed: The number of files that could not be scored.
        anomalous: The number of anomalous images; null if they are in an archive that is not here.
        passed: The number of normal images; null if they are in an archive that is not here.
        overridden: The number of images whose decision was overridden.
    """

    failed: int
    anomalous: int | None
    passed: int | None
    overridden: int


class ImageMembership(Model):
    """A range of data-set versions that an image is or was in.

    Attributes:
        category: The category.
        path: The path of the image, below the workspace.
        part: ``train``, or ``test`` and the label.
        first: The first data-set version.
        last: The last data-set version; null while the image is in the latest one.
        present: Whether the category holds one of these versions now.
        normal: Whether it is a normal image; an image of the evaluation set is not.
    """

    category: str
    path: str
    part: str
    first: int
    last: int | None
    present: bool
    normal: bool


class ImageWithdrawal(Model):
    """A withdrawal of a normal image.

    Attributes:
        sequence: The sequence of its record.
        category: The category.
        at: The time of the withdrawal, in UTC.
        who: The user who withdrew the image.
        path: The path of the image before the withdrawal.
        reason: Why it was withdrawn.
        dataset_version: The data-set version of the category after it.
    """

    sequence: int
    category: str
    at: str
    who: str
    path: str
    reason: str
    dataset_version: int


class BankName(Model):
    """A bank version.

    Attributes:
        category: The category.
        bank_version: The bank version.
        bank_sha256: The digest of the bank.
        dataset_version: The data-set version that it was built from.
    """

    category: str
    bank_version: int
    bank_sha256: str
    dataset_version: int


class BankWithImage(BankName):
    """A bank version that was built from an image.

    Attributes:
        role: ``remembered``, or ``calibration`` for a held-out image; null if the bank is not on this machine.
        rows: The number of the bank's rows that come from the image; null if the bank is not on this machine.
        batches: The scorings by this bank, oldest first.
    """

    role: Literal["remembered", "calibration"] | None
    rows: int | None
    batches: tuple[ScoredBatchAnswer, ...]


class UnlistedDataset(Model):
    """A data-set version whose images were not recorded.

    Attributes:
        category: The category.
        dataset_version: The number of the data-set version.
    """

    category: str
    dataset_version: int


class NormalAnswer(Model):
    """The result of `patchcore audit normal`.

    Attributes:
        sha256: The digest of the image.
        memberships: The data-set versions that the image is or was in.
        withdrawn: The withdrawals of the image, oldest first.
        banks: The banks that were built from it, with the batches that they scored.
        measured: The banks that were evaluated on it and not built from it.
        unlisted: The data-set versions that cannot be searched for it.
    """

    sha256: str
    memberships: tuple[ImageMembership, ...]
    withdrawn: tuple[ImageWithdrawal, ...]
    banks: tuple[BankWithImage, ...]
    measured: tuple[BankName, ...]
    unlisted: tuple[UnlistedDataset, ...]


class FileProblem(Model):
    """A difference between a batch and its record.

    Attributes:
        path: The path of the file; null if the problem is about the whole batch.
        problem: The difference, as a sentence.
    """

    path: str | None
    problem: str


class CompletenessAnswer(Model):
    """The result of `patchcore audit completeness`.

    Attributes:
        batch: The name of the batch.
        scoring: The scoring that was checked.
        category: The category.
        complete: Whether no record and no file is missing or changed.
        recorded_completely: Whether no record is missing.
        received: The number of files that were received.
        scored: The number of images with a score.
        failed: The number of files that could not be scored.
        images: The number of image records.
        images_sha256: The digest of the paths and digests of all images.
        folder: The folder that was compared; null if it is gone, and then the batch is not complete.
        files: The number of files in that folder; null if it is gone.
        problems: The differences.
    """

    batch: str
    scoring: int
    category: str
    complete: bool
    recorded_completely: bool
    received: int
    scored: int
    failed: int
    images: int
    images_sha256: str
    folder: str | None
    files: int | None
    problems: tuple[FileProblem, ...]


def scoring_fields(record: BatchRecord) -> dict[str, str | int | float | None]:
    """Return the fields of a scoring by name."""
    return {name: getattr(record, name) for name in (*ScoringFields.model_fields, "failed")}
