"""What was in production when, and how it came to be."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from patchcore.adapters.ledger.records import Decision, Event, EventKind
from patchcore.adapters.ledger.times import now, time_of, utc_text
from patchcore.errors import Refused
from patchcore.lifecycle.services import Services


def at(services: Services, category: str, time: str) -> dict[str, Any]:
    """Return what was in production at a time, since when, until when, by whose decision; times without zone are UTC.

    Raises:
        UsageError: The time cannot be read.
        Refused: Nothing was in production then, or the time is yet to come.
    """
    moment = time_of(time)
    decisions = services.ledger.history(category)
    _require_past(utc_text(moment), decisions)
    found = services.ledger.production_at(category, moment)
    if found is None:
        raise Refused(
            f"{category} had no bank in production at {utc_text(moment)}",
            got="no promotion before that time",
            expected="a time after the first promotion",
            remedy=f"look at them with: patchcore audit history {category}",
        )
    decision = next(entry for entry in decisions if entry.sequence == found.decision)
    return {
        "category": category,
        "at": utc_text(moment),
        "bank_version": found.version,
        "bank_sha256": found.bank_sha256,
        "since": found.since,
        "until": found.until,
        "from_version": decision.from_version,
        "who": decision.who,
        "reason": decision.reason,
        "decision": asdict(decision),
    }


def _require_past(moment: str, decisions: Sequence[Decision]) -> None:
    latest = max([now(), *(entry.at for entry in decisions)])  # the clock that recorded may be ahead of this one
    if moment > latest:
        raise Refused(
            "the future is not recorded",
            got=moment,
            expected=f"a time up to {latest}",
            remedy="check the time and its zone; a time without one is UTC",
        )


def history(services: Services, category: str) -> dict[str, Any]:
    """Return every decision about a category, the first one first, and between them what else changed what it means.

    That are the times when its alias was put right, and when a normal image was withdrawn (``kind`` event). Of a
    decision, ``passed`` is what the gate said (None where it was not asked) and ``approved_by`` the sequence of the
    promotion that approved a proposal.

    Raises:
        Refused: The ledger knows no such category.
    """
    decisions = services.ledger.history(category)
    events = [
        entry for entry in services.ledger.events(category) if entry.action in {EventKind.RECONCILE, EventKind.WITHDRAW}
    ]
    if not decisions and services.ledger.latest_dataset(category) is None:
        raise Refused(
            f"the ledger knows no category {category}",
            got=repr(category),
            expected="one that was added with patchcore add",
            remedy="check the name",
        )
    production = services.ledger.production(category)
    approvals = {entry.proposal: entry.sequence for entry in decisions if entry.proposal is not None}
    entries = [_decided(entry, approvals.get(entry.sequence)) for entry in decisions] + [_happened(e) for e in events]
    return {
        "category": category,
        "production": production.version if production else None,
        "history": sorted(entries, key=lambda entry: entry["sequence"]),
    }


def _decided(entry: Decision, approved_by: int | None) -> dict[str, Any]:
    return {**asdict(entry), "kind": "decision", "passed": entry.verdict.get("passed"), "approved_by": approved_by}


def _happened(entry: Event) -> dict[str, Any]:
    return {**asdict(entry), "kind": "event"}
