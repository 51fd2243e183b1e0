"""Whether a retrain has the gate judge a bank: one that is new, or one whose images are the present ones again."""

from collections.abc import Sequence

from patchcore.adapters.ledger.datasets import PresentDataset
from patchcore.adapters.ledger.records import CHANGES_PRODUCTION, BankRecord, Decision
from patchcore.lifecycle.services import Services


def is_to_be_judged(version: int, history: Sequence[Decision], *, present_since: int, current: bool) -> bool:
    """Say whether a bank of the present data-set version is to be judged by the gate.

    A bank is judged once each time its data-set version becomes the present one: for the first time, or again because
    a withdrawal brought it back while production has a bank with the withdrawn image. What a person went back from
    stays out, whatever becomes of the images: that it was no good was learned in production, which no gate knows of.

    Args:
        version: the bank's.
        history: every decision about the category, the first one first.
        present_since: the sequence of the record since which the bank's data-set version is the present one.
        current: the bank in production was built from the present data-set version.
    """
    about = [decision.sequence for decision in history if decision.to_version == version]
    if not about:
        return True
    return not current and max(about) < present_since and not _went_back(version, history)


def banks_to_be_judged(services: Services, category: str, banks: Sequence[BankRecord]) -> list[BankRecord]:
    """Return which of some banks of the present data-set version are to be judged by the gate.

    Raises:
        Fault: the ledger does not answer.
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


def _went_back(version: int, history: Sequence[Decision]) -> bool:
    """Say whether a person went back from a version, or past it, since it last came to production."""
    changes = [decision for decision in history if decision.action in CHANGES_PRODUCTION]
    came = max((place for place, each in enumerate(changes) if each.to_version == version), default=len(changes))
    before = {each.to_version for each in changes[:came]}
    return any(each.action == "rollback" and each.to_version in before for each in changes[came + 1 :])
