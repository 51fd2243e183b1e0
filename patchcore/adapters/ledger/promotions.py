"""Promotions in the ledger: decisions, each made against what was in production, and what follows from them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from patchcore.adapters.ledger.database import Book, add_record, all_records, as_record
from patchcore.adapters.ledger.records import CHANGES_PRODUCTION, Action, Decision, Production
from patchcore.adapters.ledger.tables import decisions
from patchcore.adapters.ledger.times import now, utc_text
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
            proposal: The sequence of the proposal that the decision is about; nobody decides about his own.

        Raises:
            Refused: somebody else changed production meanwhile, the ledger knows no such bank, or the proposal does
                not stand (see `proposal`) or was made by the same person.
        """
        with self._database.writing() as connection:
            last = _last_change(connection, category)
            if proposal is not None:
                _require_another(_standing_proposal(connection, category, to_version, proposal), who)
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

    def proposal(self, category: str, version: int) -> Decision:
        """Return the proposal to promote a bank version, which stands until another one or a change of production.

        Raises:
            Refused: there is none, or it does not stand any more.
        """
        with self._database.reading() as connection:
            return _standing_proposal(connection, category, version)

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
    return _last(connection, decisions.c.category == category, _CHANGES_PRODUCTION)


def _last(connection: Connection, *conditions: ColumnElement[bool]) -> Decision | None:
    query = select(decisions).where(*conditions).order_by(decisions.c.sequence.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return as_record(Decision, row) if row else None


def _standing_proposal(connection: Connection, category: str, version: int, sequence: int | None = None) -> Decision:
    """Return the proposal that stands, which has to be that of the sequence where one is given."""
    proposals = (decisions.c.category == category, decisions.c.action == "propose")
    made = _last(connection, *proposals, decisions.c.to_version == version)
    if made is None:
        raise _does_not_stand(category, version, "none was made")
    change, newer = _last_change(connection, category), _last(connection, *proposals)
    if change and change.proposal == made.sequence:
        raise _does_not_stand(category, version, f"it was approved by {change.who} at {change.at}")
    if change and change.sequence > made.sequence:
        got = f"production changed after it: bank {change.to_version}, made so by {change.who} at {change.at}"
        raise _does_not_stand(category, version, got)
    if newer and newer.sequence != made.sequence:
        got = f"a newer one: bank {newer.to_version}, proposed by {newer.who} at {newer.at}"
        raise _does_not_stand(category, version, got)
    if sequence is not None and made.sequence != sequence:
        raise _does_not_stand(category, version, f"a newer one: proposed by {made.who} at {made.at}")
    return made


def _does_not_stand(category: str, version: int, got: str) -> Refused:
    return Refused(
        f"no proposal to promote bank {category} {version} stands",
        got=got,
        expected="a proposal that nothing has come after",
        remedy=f"propose it (again): patchcore promote {category} {version} --propose",
    )


def _require_another(proposal: Decision, who: str) -> None:
    """Refuse whoever made the proposal. One account on two hosts is one person, whatever the letters' case."""
    proposer, decider = (name.partition("@")[0].strip().casefold() for name in (proposal.who, who))
    if proposer == decider:
        raise Refused(
            f"nobody approves his own proposal, to promote bank {proposal.category} {proposal.to_version}",
            got=who,
            expected=f"a person other than {proposal.who}",
            remedy="ask one to approve it; PATCHCORE_USER says who is at work",
        )


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
