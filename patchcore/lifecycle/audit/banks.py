"""The batches that a bank scored, which a recall starts from, and the differences between two banks."""

from patchcore.adapters.ledger.records import BankRecord
from patchcore.errors import UsageError
from patchcore.lifecycle.audit.bank_results import BankAnswer, Certificate, ComparedBank, ComparisonAnswer
from patchcore.lifecycle.audit.datasets import scored_batches
from patchcore.lifecycle.bank_cache import bank_content, bank_record
from patchcore.lifecycle.services import Services


def bank(services: Services, category: str, version: int, *, fetch: bool = False) -> BankAnswer:
    """Return a bank version, the decisions about it and the batches that it scored.

    Args:
        services: The opened workspace.
        category: The category.
        version: The bank version.
        fetch: Whether to download the bank if it is not on this machine; its certificate is read from it.

    Raises:
        UnknownBank: There is no such version.
        InvalidArchive: An archive is not the file that was written.
    """
    record = bank_record(services, category, version)
    return BankAnswer(
        category=category,
        bank_version=version,
        bank_sha256=record.sha256,
        dataset_version=record.dataset_version,
        dataset_sha256=record.dataset_sha256,
        run_id=record.run_id,
        git_commit=record.git_commit,
        registered_at=record.at,
        metrics=record.metrics,
        evaluation_sha256=record.evaluation_sha256,
        certificate=_certificate(services, record, fetch=fetch),
        decisions=tuple(services.ledger.decisions_for(category, version)),
        batches=scored_batches(services, record),
    )


def compare(services: Services, category: str, first: int, second: int) -> ComparisonAnswer:
    """Compare the decisions of two bank versions about the images of batches that both scored.

    Raises:
        UsageError: Both versions are the same.
        UnknownBank: There is no such version.
    """
    if first == second:
        raise UsageError(
            f"bank version {first} of {category} cannot be compared with itself",
            got=f"{first} twice",
            expected="two versions",
            remedy=f"name two versions, or see its batches with: patchcore audit bank {category} {first}",
        )
    banks = [bank_record(services, category, version) for version in (first, second)]
    found = services.ledger.comparison(category, first, second)
    by_first = sum(entry.first_anomalous for entry in found.disagreements)
    one, other = (ComparedBank(bank_version=record.version, bank_sha256=record.sha256) for record in banks)
    return ComparisonAnswer(
        category=category,
        first=one,
        second=other,
        batches=found.batches,
        archived=found.archived,
        compared=found.compared,
        agreeing=found.compared - len(found.disagreements),
        anomalous_for_first_only=by_first,
        anomalous_for_second_only=len(found.disagreements) - by_first,
        disagreements=found.disagreements,
    )


def _certificate(services: Services, record: BankRecord, *, fetch: bool) -> Certificate | None:
    content = bank_content(services, record, fetch=fetch)
    if content is None:
        return None
    coreset = content.config.coreset
    return Certificate.model_validate({name: getattr(coreset, name) for name in Certificate.model_fields})
