"""What the questions about memory banks and production answer: the JSON of `patchcore audit bank, compare, at`."""

from collections.abc import Mapping

from patchcore._util.model import Model
from patchcore.adapters.ledger.comparisons import Disagreement
from patchcore.adapters.ledger.records import (
    Decision,
)
from patchcore.lifecycle.audit.results import ScoredBatchAnswer


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
