"""The rule by which a retrain judges a bank: if it is new, or if its data-set version is the present one again."""

from collections.abc import Sequence

from patchcore.adapters.ledger.datasets import PresentDataset
from patchcore.adapters.ledger.records import CHANGES_PRODUCTION, BankRecord, Decision
from patchcore.lifecycle.services import Services


def is_to_be_judged(version: int, history: Sequence[Decision], *, present_since: int, current: bool) -> bool:
    """Say whether the gate judges a bank of the present data-set version.

    A bank is judged once each time its data-set version becomes the present one: the first time, or again after a
    withdrawal while the bank in production still has the withdrawn image. A bank that was rolled back is not judged
    again: a rollback shows a problem in production that the gate does not measure.

    Args:
        version: The bank version.
        history: Every decision about the category, the first one first.
        present_since: The sequence of the record since which the bank's data-set version is the present one.
        current: Whether the bank in production was built from the present data-set version.

    Example:
        >>> is_to_be_judged(1, [], present_since=5, current=False)
        True
    """
    about = [decision.sequence for decision in history if decision.to_version == version]
    if not about:
        return True
    return not current and max(about) < present_since and not _was_rolled_back(version, history)


def banks_to_be_judged(services: Services, category: str, banks: Sequence[BankRecord]) -> list[BankRecord]:
    """Return the banks of the present data-set version that the gate judges.

    Args:
        services: The opened workspace.
        category: The category.
        banks: Banks of the present data-set version.

    Raises:
        LedgerUnavailable: The ledger does not answer.
    """
    present = services.ledger.present_dataset(category)
    history = services.ledger.history(category)
    current = _is_current(services, category, present)
    since = present.since if present else 0
    return [bank for bank in banks if is_to_be_judged(bank.version, history, present_since=since, current=current)]


def _is_current(services: Services, category: str, present: PresentDataset | None) -> bool:
    """Say whether the bank in production was built from the present data-set version."""
    production = services.ledger.production(category)
    bank = services.ledger.bank(category, production.version) if production else None
    return bank is not None and present is not None and bank.dataset_version == present.version.number


def _was_rolled_back(version: int, history: Sequence[Decision]) -> bool:
    """Say whether a rollback left a version, or passed it, since it last came to production."""
    changes = [decision for decision in history if decision.action in CHANGES_PRODUCTION]
    came = max((place for place, each in enumerate(changes) if each.to_version == version), default=len(changes))
    before = {each.to_version for each in changes[:came]}
    return any(each.action == "rollback" and each.to_version in before for each in changes[came + 1 :])
