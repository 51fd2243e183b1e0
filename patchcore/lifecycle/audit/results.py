"""The results of the questions about the past, one model per command."""

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from patchcore._util.model import Model
from patchcore.adapters.ledger.comparisons import Disagreement
from patchcore.adapters.ledger.records import (
    Action,
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


class Certificate(Model):
    """How the rows of a bank were chosen, and how well they cover its patches.

    Attributes:
        radius: Every patch lies within this distance of a row.
        rows: The number of rows.
        patches: The number of patches of all normal images.
        arrivals: The number of groups in which the images came.
        rows_added: The number of rows that later groups added.
        rows_merged: The number of rows that were removed again to stay within the budget.
    """

    radius: float
    rows: int
    patches: int
    arrivals: int
    rows_added: int
    rows_merged: int


class BankAnswer(Model):
    """The result of `patchcore audit bank`.

    Attributes:
        category: The category.
        bank_version: The bank version.
        bank_sha256: The digest of the bank.
        dataset_version: The data-set version that it was built from.
        dataset_sha256: The digest of that data-set version.
        run_id: The MLflow run that built it.
        git_commit: The commit of the workspace; null if there was none.
        registered_at: The time of the registration, in UTC.
        metrics: The metrics by name; null for a metric that is undefined.
        evaluation_sha256: The digest of the evaluation set.
        certificate: The cover of its rows; null if the bank is not on this machine.
        decisions: The decisions about this version, oldest first.
        batches: The scorings by this version, oldest first.
    """

    category: str
    bank_version: int
    bank_sha256: str
    dataset_version: int
    dataset_sha256: str
    run_id: str
    git_commit: str | None
    registered_at: str
    metrics: Mapping[str, float | None] | None
    evaluation_sha256: str | None
    certificate: Certificate | None
    decisions: tuple[Decision, ...]
    batches: tuple[ScoredBatchAnswer, ...]


class ComparedBank(Model):
    """One of two banks.

    Attributes:
        bank_version: The bank version.
        bank_sha256: The digest of the bank.
    """

    bank_version: int
    bank_sha256: str


class ComparisonAnswer(Model):
    """The result of `patchcore audit compare`.

    Attributes:
        category: The category.
        first: The first bank.
        second: The second bank.
        batches: The batches that were compared.
        archived: The batches with a scoring in an archive, which were not compared.
        compared: The number of images that both banks scored.
        agreeing: The number of images that both decided alike.
        anomalous_for_first_only: The number of images that only the first bank decided to be anomalous.
        anomalous_for_second_only: The number of images that only the second bank decided to be anomalous.
        disagreements: The images that they decided differently.
    """

    category: str
    first: ComparedBank
    second: ComparedBank
    batches: tuple[str, ...]
    archived: tuple[str, ...]
    compared: int
    agreeing: int
    anomalous_for_first_only: int
    anomalous_for_second_only: int
    disagreements: tuple[Disagreement, ...]


class ProductionAnswer(Model):
    """The result of `patchcore audit at`.

    Attributes:
        category: The category.
        at: The time of the question, in UTC.
        bank_version: The bank version in production at that time.
        bank_sha256: The digest of that bank.
        since: The time when it came to production.
        until: The time when another one replaced it; null if it is in production now.
        from_version: The bank version before it; null if there was none.
        who: The user who decided.
        reason: Why.
        decision: The decision that brought it to production.
    """

    category: str
    at: str
    bank_version: int
    bank_sha256: str
    since: str
    until: str | None
    from_version: int | None
    who: str
    reason: str
    decision: Decision


class HistoryDecision(Model):
    """A decision in the history of a category.

    Attributes:
        sequence: The sequence of its record.
        category: The category.
        action: The kind of decision.
        from_version: The bank version in production before; null if there was none.
        to_version: The bank version that the decision is about.
        bank_sha256: The digest of that bank.
        reason: Why.
        forced: Whether it was decided against the gate.
        verdict: The verdict of the gate.
        proposal: The sequence of the proposal that a promotion approves; null if there is none.
        who: The user who decided.
        at: The time of the decision, in UTC.
        kind: Always ``decision``.
        passed: Whether the gate passed the bank; null if the gate was not asked.
        approved_by: The sequence of the promotion that approved this proposal; null if there is none.
    """

    sequence: int
    category: str
    action: Action
    from_version: int | None
    to_version: int
    bank_sha256: str
    reason: str
    forced: bool
    verdict: Mapping[str, JsonValue]
    proposal: int | None
    who: str
    at: str
    kind: Literal["decision"] = "decision"
    passed: bool | None
    approved_by: int | None


class HistoryEvent(Model):
    """A withdrawal or a repair of MLflow in the history of a category.

    Attributes:
        sequence: The sequence of its record.
        category: The category.
        action: ``withdraw`` or ``reconcile``.
        summary: The facts about it.
        who: The user.
        at: The time, in UTC.
        kind: Always ``event``.
    """

    sequence: int
    category: str
    action: str
    summary: Mapping[str, JsonValue]
    who: str
    at: str
    kind: Literal["event"] = "event"


class HistoryAnswer(Model):
    """The result of `patchcore audit history`.

    Attributes:
        category: The category.
        production: The bank version in production now; null if there is none.
        history: Decisions, withdrawals and repairs of MLflow, oldest first.
    """

    category: str
    production: int | None
    history: tuple[HistoryDecision | HistoryEvent, ...]


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
