"""The decisions about production in the ledger, and what is in production according to them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from patchcore.adapters.ledger.database import LedgerRepository, add_record, all_records, as_record
from patchcore.adapters.ledger.records import CHANGES_PRODUCTION, Action, Decision, Production
from patchcore.adapters.ledger.tables import decisions
from patchcore.adapters.ledger.times import now, utc_text
from patchcore.errors import OwnProposal, ProductionChanged, UnknownProposal

_CHANGES_PRODUCTION = decisions.c.action.in_(CHANGES_PRODUCTION)


class Promotions(LedgerRepository):
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
        verdict: Mapping[str, object],
        who: str,
        forced: bool = False,
        proposal: int | None = None,
    ) -> Decision:
        """Record a decision; one that changes production is refused if production changed since it was prepared.

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
            proposal: The sequence of the proposal that the decision is about, which another person made.

        Raises:
            ProductionChanged: Production changed since the decision was prepared.
            UnknownProposal: The proposal is not open; see `proposal`.
            OwnProposal: The same person made the proposal.
            Refused: The ledger has no such bank.
            LedgerUnavailable: The ledger cannot be written.
        """
        with self._database.writing() as connection:
            last = _last_change(connection, category)
            if proposal is not None:
                check_approver(_open_proposal(connection, category, to_version, proposal), who)
            # Compare decisions, not versions: a version may have left production and come back in between.
            if action in CHANGES_PRODUCTION and (last.sequence if last else None) != expected:
                raise _production_changed(category, to_version, last)
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
        """Return the open proposal to promote a bank version. A newer one, or a change of production, closes it.

        Raises:
            UnknownProposal: There is no such proposal, or it is closed.
            LedgerUnavailable: The ledger does not answer.
        """
        with self._database.reading() as connection:
            return _open_proposal(connection, category, version)

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


def _open_proposal(connection: Connection, category: str, version: int, sequence: int | None = None) -> Decision:
    """Return the open proposal, which must have the given sequence if there is one."""
    proposals = (decisions.c.category == category, decisions.c.action == "propose")
    made = _last(connection, *proposals, decisions.c.to_version == version)
    if made is None:
        raise _not_open(category, version, "no proposal of this version")
    change, newer = _last_change(connection, category), _last(connection, *proposals)
    if change and change.proposal == made.sequence:
        raise _not_open(category, version, f"it was approved by {change.who} at {change.at}")
    if change and change.sequence > made.sequence:
        got = f"production changed after it: bank {change.to_version}, by {change.who} at {change.at}"
        raise _not_open(category, version, got)
    if newer and newer.sequence != made.sequence:
        got = f"a newer one: bank {newer.to_version}, proposed by {newer.who} at {newer.at}"
        raise _not_open(category, version, got)
    if sequence is not None and made.sequence != sequence:
        raise _not_open(category, version, f"a newer one: proposed by {made.who} at {made.at}")
    return made


def _not_open(category: str, version: int, got: str) -> UnknownProposal:
    return UnknownProposal(
        f"no proposal to promote bank {category} {version} is open",
        got=got,
        expected="a proposal that is newer than every other one and than the last change of production",
        remedy=f"propose it (again): patchcore promote {category} {version} --propose",
    )


def check_approver(proposal: Decision, who: str) -> None:
    """Check that a person may approve a proposal. The same account on two hosts, in any case, is the same person.

    Raises:
        OwnProposal: The same person made the proposal.
    """
    proposer, decider = (name.partition("@")[0].strip().casefold() for name in (proposal.who, who))
    if proposer == decider:
        raise OwnProposal(
            f"you cannot approve your own proposal, to promote bank {proposal.category} {proposal.to_version}",
            got=who,
            expected=f"a person other than {proposal.who}",
            remedy="ask another person to approve it; PATCHCORE_USER sets who you are",
        )


def _production(change: Decision, until: str | None) -> Production:
    return Production(change.category, change.to_version, change.bank_sha256, change.at, until, change.sequence)


def _production_changed(category: str, to_version: int, winner: Decision | None) -> ProductionChanged:
    got = "none" if winner is None else f"bank {winner.to_version}, by {winner.who} at {winner.at}"
    return ProductionChanged(
        f"bank {category} {to_version} cannot go to production, which changed meanwhile",
        got=got,
        expected="production as it was when this decision was prepared",
        remedy="look at the history of the category, then decide again",
    )
