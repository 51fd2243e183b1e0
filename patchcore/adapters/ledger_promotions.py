"""Promotions in the ledger: decisions, each made against what was in production, and what follows from them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from patchcore.adapters.ledger_database import Book, add_record, all_records, as_record
from patchcore.adapters.ledger_records import CHANGES_PRODUCTION, Action, Decision, Production, now, utc_text
from patchcore.adapters.ledger_tables import decisions
from patchcore.errors import Refused

_CHANGES_PRODUCTION = decisions.c.action.in_(CHANGES_PRODUCTION)


class Promotions(Book):
    """The promotion history of every category. What is in production is its last record that changed production."""

    def decide(
        self,
        category: str,
        action: Action,
        to_version: int,
        bank_sha256: str,
        *,
        expected: int | None,
        reason: str,
        verdict: Mapping[str, Any],
        who: str,
        forced: bool = False,
        proposal: int | None = None,
    ) -> Decision:
        """Record a decision; one that changes production counts only if production is still what was expected.

        Args:
            category: The category.
            action: promote and rollback change production, refuse and propose do not.
            to_version: The bank version that the decision is about.
            bank_sha256: Its content.
            expected: The sequence of the decision that production rested on when this one was prepared, as
                ``Production.decision`` has it; None where nothing was in production.
            reason: Why, in words.
            verdict: What the gate said, with its reasons and the digests that it looked at.
            who: Who decided.
            forced: Whether against the gate.
            proposal: The sequence of the proposal that a promotion approves.

        Raises:
            Refused: somebody else changed production meanwhile, or the ledger knows no such bank.
        """
        with self._database.writing() as connection:
            last = _last_change(connection, category)
            # Not the version: it may have gone and come back, by decisions that this one knows nothing of.
            if action in CHANGES_PRODUCTION and (last.sequence if last else None) != expected:
                raise _lost(category, to_version, last)
            values: dict[str, Any] = {
                "category": category,
                "action": action,
                "from_version": last.to_version if last else None,
                "to_version": to_version,
                "bank_sha256": bank_sha256,
                "reason": reason,
                "forced": forced,
                "verdict": dict(verdict),
                "proposal": proposal,
                "who": who,
                "at": max(now(), last.at) if last else now(),  # a clock set back does not reorder history
            }
            return Decision(sequence=add_record(connection, "decisions", values), **values)

    def production(self, category: str) -> Production | None:
        """Return what is in production; None before the first promotion."""
        with self._database.reading() as connection:
            last = _last_change(connection, category)
        return _production(last, None) if last else None

    def production_at(self, category: str, time: datetime) -> Production | None:
        """Return what was in production at a time; None before the first promotion.

        Raises:
            UsageError: the time has no time zone.
        """
        moment = utc_text(time)
        with self._database.reading() as connection:
            changes = all_records(
                connection, Decision, decisions, decisions.c.category == category, _CHANGES_PRODUCTION
            )
        before = [change for change in changes if change.at <= moment]
        after = changes[len(before) :]
        return _production(before[-1], after[0].at if after else None) if before else None

    def history(self, category: str) -> list[Decision]:
        """Return every decision about a category, in the order in which they were made."""
        with self._database.reading() as connection:
            return all_records(connection, Decision, decisions, decisions.c.category == category)

    def decisions_for(self, category: str, version: int) -> list[Decision]:
        """Return every decision about a bank version, in the order in which they were made."""
        about = (decisions.c.category == category, decisions.c.to_version == version)
        with self._database.reading() as connection:
            return all_records(connection, Decision, decisions, *about)


def _last_change(connection: Connection, category: str) -> Decision | None:
    query = select(decisions).where(decisions.c.category == category, _CHANGES_PRODUCTION)
    row = connection.execute(query.order_by(decisions.c.sequence.desc()).limit(1)).mappings().first()
    return as_record(Decision, row) if row else None


def _production(change: Decision, until: str | None) -> Production:
    return Production(change.category, change.to_version, change.bank_sha256, change.at, until, change.sequence)


def _lost(category: str, to_version: int, winner: Decision | None) -> Refused:
    got = "none" if winner is None else f"bank {winner.to_version}, made so by {winner.who} at {winner.at}"
    return Refused(
        f"bank {category} {to_version} does not go to production, which changed meanwhile",
        got=got,
        expected="production as it was when this decision was prepared",
        remedy="look at the history of the category, then decide again",
    )
