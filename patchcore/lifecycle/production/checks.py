"""Checks of decisions about production. They change nothing.

A command makes them before Prefect starts, and the operation makes them again.

A check that passes holds only for the history that it was given: the ledger refuses a decision if production changed
after that history was read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from patchcore.adapters.ledger.promotions import check_approver
from patchcore.adapters.ledger.records import CHANGES_PRODUCTION, Decision
from patchcore.errors import CannotRollBack, MissingReason
from patchcore.lifecycle.services import Services, who


@dataclass(frozen=True)
class RollbackTarget:
    """The target of a rollback.

    Attributes:
        version: The bank version that comes back to production.
        expected: The sequence of the decision that set the version now in production.
        repeated: The same rollback, if it is the last change of production already; else None.
    """

    version: int
    expected: int
    repeated: Decision | None


def check_reason(reason: str) -> None:
    """Check that a reason is not empty.

    Raises:
        MissingReason: It is empty.
    """
    if not reason.strip():
        got = repr(reason) if reason else "none"
        raise MissingReason("a decision about production needs a reason", got, "a few words", "give --reason TEXT")


def check_rollback(
    category: str, history: Sequence[Decision], *, reason: str, to: int | None, user: str
) -> RollbackTarget:
    """Check that a rollback is possible, and return its target.

    The same rollback again, for example after a crash, has the version that is in production already as its target: it
    goes down one step, not two. It is the same if nothing else changed production, and the same person gives the
    same reason.

    Args:
        category: The category.
        history: Every decision about the category, the first one first.
        reason: Why, in words.
        to: The version; None for the one that was in production before.
        user: Who asks.

    Raises:
        MissingReason: There is no reason.
        CannotRollBack: No other version was in production before, or not the one that is named.
    """
    check_reason(reason)
    last = last_change(history)
    if last and (last.action, last.reason, last.who) == ("rollback", reason, user) and to in {None, last.to_version}:
        return RollbackTarget(last.to_version, last.sequence, repeated=last)
    earlier = earlier_versions(history)
    version = to if to is not None else next(iter(earlier), None)
    if last is None or version is None or version not in earlier:
        raise CannotRollBack(
            f"{category} cannot go back",
            got="no version named" if version is None else f"version {version}",
            expected=f"one that was in production before: {', '.join(map(str, earlier)) or 'there is none'}",
            remedy=f"name one of these with --to, or run: patchcore promote {category} VERSION",
        )
    return RollbackTarget(version, last.sequence, repeated=None)


def check_approval(services: Services, category: str, version: int) -> Decision | None:
    """Check that the user may approve the promotion of a bank version, and return the proposal.

    Returns:
        The proposal; None if the user approved it already and nothing changed production since.

    Raises:
        UnknownProposal: No proposal of this version is open.
        OwnProposal: The user made the proposal.
        LedgerUnavailable: The ledger does not answer.
    """
    user, last = who(), last_change(services.ledger.history(category))
    if last and last.proposal is not None and (last.to_version, last.who) == (version, user):
        return None
    proposal = services.ledger.proposal(category, version)
    check_approver(proposal, user)
    return proposal


def last_change(history: Sequence[Decision]) -> Decision | None:
    """Return the decision that set the version now in production; None before the first promotion."""
    return next((each for each in reversed(history) if each.action in CHANGES_PRODUCTION), None)


def earlier_versions(history: Sequence[Decision]) -> list[int]:
    """Return the versions that a rollback can restore, the nearest first.

    A promotion goes up one step; a rollback goes down one step.

    Args:
        history: Every decision about a category, the first one first.
    """
    ladder: list[int] = []
    for decision in history:
        if decision.action not in CHANGES_PRODUCTION:
            continue
        if decision.action == "rollback" and decision.to_version in ladder:
            del ladder[ladder.index(decision.to_version) + 1 :]
        else:
            ladder.append(decision.to_version)
    return [version for version in dict.fromkeys(ladder[-2::-1]) if version != ladder[-1]]
