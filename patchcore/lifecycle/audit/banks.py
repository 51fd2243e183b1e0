"""What a bank decided: the batches that it scored, which a recall starts from, and how it differs from another bank."""

from dataclasses import asdict
from typing import Any

from patchcore.adapters.ledger.records import BankRecord
from patchcore.errors import UsageError
from patchcore.lifecycle.audit.datasets import scored_batches
from patchcore.lifecycle.bank_cache import bank_content, bank_record
from patchcore.lifecycle.services import Services

_CERTIFICATE = ("radius", "rows", "patches", "arrivals", "rows_added", "rows_merged")


def bank(services: Services, category: str, version: int, *, fetch: bool = False) -> dict[str, Any]:
    """Return a bank version, the decisions about it and the batches that it scored: what a recall needs.

    Its certificate says how it came by its rows, and how far from them a patch of its images can be; it is None where
    the bank itself is not to be had.

    Args:
        services: The opened workspace.
        category: Of the bank.
        version: Of the bank.
        fetch: Fetch the bank from the registry where this machine has it not.

    Raises:
        Refused: There is no such version, or an archive is not the file that was written.
    """
    record = bank_record(services, category, version)
    return {
        "category": category,
        "bank_version": version,
        "bank_sha256": record.sha256,
        "dataset_version": record.dataset_version,
        "dataset_sha256": record.dataset_sha256,
        "run_id": record.run_id,
        "git_commit": record.git_commit,
        "registered_at": record.at,
        "metrics": record.metrics,
        "evaluation_sha256": record.evaluation_sha256,
        "certificate": _certificate(services, record, fetch=fetch),
        "decisions": [asdict(entry) for entry in services.ledger.decisions_for(category, version)],
        "batches": scored_batches(services, record),
    }


def compare(services: Services, category: str, first: int, second: int) -> dict[str, Any]:
    """Return how often two bank versions decide alike about the images of batches that both scored, and where not.

    Raises:
        UsageError: It is one version.
        Refused: There is no such version.
    """
    if first == second:
        raise UsageError(
            f"bank version {first} of {category} cannot be compared with itself",
            got=f"{first} twice",
            expected="two versions",
            remedy=f"see what it scored with: patchcore audit bank {category} {first}",
        )
    banks = [bank_record(services, category, version) for version in (first, second)]
    found = services.ledger.comparison(category, first, second)
    differing = [asdict(entry) for entry in found.disagreements]
    by_first = sum(entry.first_anomalous for entry in found.disagreements)
    return {
        "category": category,
        **{
            name: {"bank_version": record.version, "bank_sha256": record.sha256}
            for name, record in zip(("first", "second"), banks, strict=True)
        },
        "batches": list(found.batches),
        "archived": list(found.archived),
        "compared": found.compared,
        "agreeing": found.compared - len(differing),
        "anomalous_for_first_only": by_first,
        "anomalous_for_second_only": len(differing) - by_first,
        "disagreements": differing,
    }


def _certificate(services: Services, record: BankRecord, *, fetch: bool) -> dict[str, Any] | None:
    content = bank_content(services, record, fetch=fetch)
    if content is None:
        return None
    coreset = content.config.coreset.model_dump()
    return {name: coreset[name] for name in _CERTIFICATE}
