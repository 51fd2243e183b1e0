"""The bank in production at a time, and the history of decisions about a category."""

from collections.abc import Sequence
from dataclasses import asdict

from patchcore.adapters.ledger.records import Decision, EventKind
from patchcore.adapters.ledger.times import now, time_of, utc_text
from patchcore.errors import NoProduction, UnknownCategory
from patchcore.lifecycle.audit.bank_results import ProductionAnswer
from patchcore.lifecycle.audit.history_results import HistoryAnswer, HistoryDecision, HistoryEvent
from patchcore.lifecycle.services import Services


def at(services: Services, category: str, time: str) -> ProductionAnswer:
    """Return the bank that was in production at a time, and the decision behind it.

    Args:
        services: The opened workspace.
        category: The category.
        time: The time in ISO 8601; a time without a zone is UTC.

    Raises:
        InvalidTime: The time cannot be read.
        NoProduction: No bank was in production at that time, or the time is in the future.
    """
    moment = time_of(time)
    decisions = services.ledger.history(category)
    _require_past(utc_text(moment), decisions)
    found = services.ledger.production_at(category, moment)
    if found is None:
        raise NoProduction(
            f"{category} had no bank in production at {utc_text(moment)}",
            got="no promotion before that time",
            expected="a time after the first promotion",
            remedy=f"list the promotions with: patchcore audit history {category}",
        )
    decision = next(entry for entry in decisions if entry.sequence == found.decision)
    return ProductionAnswer(
        category=category,
        at=utc_text(moment),
        bank_version=found.version,
        bank_sha256=found.bank_sha256,
        since=found.since,
        until=found.until,
        from_version=decision.from_version,
        who=decision.who,
        reason=decision.reason,
        decision=decision,
    )


def _require_past(moment: str, decisions: Sequence[Decision]) -> None:
    latest = max([now(), *(entry.at for entry in decisions)])  # the clock of another machine may be ahead
    if moment > latest:
        raise NoProduction(
            "the time is in the future",
            got=moment,
            expected=f"a time up to {latest}",
            remedy="check the time and its zone; a time without one is UTC",
        )


def history(services: Services, category: str) -> HistoryAnswer:
    """Return the decisions about a category with its withdrawals and repairs of MLflow, oldest first.

    Raises:
        UnknownCategory: There is no such category in the ledger.
    """
    decisions = services.ledger.history(category)
    events = [
        entry for entry in services.ledger.events(category) if entry.action in {EventKind.RECONCILE, EventKind.WITHDRAW}
    ]
    if not decisions and services.ledger.latest_dataset(category) is None:
        raise UnknownCategory(
            f"no category {category} in the ledger",
            got=repr(category),
            expected="a category that was added with patchcore add",
            remedy="check the name",
        )
    production = services.ledger.production(category)
    approvals = {entry.proposal: entry.sequence for entry in decisions if entry.proposal is not None}
    entries: list[HistoryDecision | HistoryEvent] = [
        *(_decided(entry, approvals.get(entry.sequence)) for entry in decisions),
        *(HistoryEvent(**asdict(event)) for event in events),
    ]
    return HistoryAnswer(
        category=category,
        production=production.version if production else None,
        history=tuple(sorted(entries, key=lambda entry: entry.sequence)),
    )


def _decided(entry: Decision, approved_by: int | None) -> HistoryDecision:
    return HistoryDecision(**asdict(entry), passed=entry.verdict.get("passed"), approved_by=approved_by)
