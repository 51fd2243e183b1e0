"""Which bank is in production: judged by the gate, decided in the ledger, followed by the registry."""

from dataclasses import dataclass

from patchcore.adapters.ledger.records import CHANGES_PRODUCTION, Action, BankRecord, Decision, Production
from patchcore.errors import Refused, UsageError
from patchcore.gates import Verdict
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.production.judgement import Judgement, judge, require_usable
from patchcore.lifecycle.production.reconciliation import follow, reconcile
from patchcore.lifecycle.services import Services, who

__all__ = ["Judgement", "Promotion", "approve", "judge", "promote", "reconcile", "rollback"]


@dataclass(frozen=True)
class Promotion:
    """How a bank version fared.

    Attributes:
        bank: the bank version that was judged.
        judgement: of the gate, with the metrics that it rests on.
        decision: the ledger's record; None where the version was in production already.
        production: what is in production now; None where nothing is yet.
    """

    bank: BankRecord
    judgement: Judgement
    decision: Decision | None
    production: Production | None

    @property
    def verdict(self) -> Verdict:
        """What the gate said."""
        return self.judgement.verdict

    @property
    def promoted(self) -> bool:
        """Whether this brought the version to production."""
        return self.decision is not None and self.decision.action == "promote"

    @property
    def proposed(self) -> bool:
        """Whether this waits for another person's approval."""
        return self.decision is not None and self.decision.action == "propose"

    @property
    def forced(self) -> bool:
        """Whether this was decided against the gate."""
        return self.decision is not None and self.decision.forced


def promote(
    services: Services,
    category: str,
    candidate: BankRecord,
    judgement: Judgement,
    *,
    reason: str,
    force: bool = False,
    propose: bool = False,
) -> Promotion:
    """Carry out a judgement: the ledger first, compare-and-set; then the registry follows.

    Where params.yaml asks for a second person, a promotion is proposed only.

    Args:
        services: the opened workspace.
        category: the category.
        candidate: the bank version that was judged.
        judgement: its judgement.
        reason: why, in words.
        force: promote it although it did not pass the gate; recorded as forced, with the verdict.
        propose: leave it to another person to approve.

    Raises:
        UsageError: there is no reason.
        Refused: production is not what it was when the judgement was reached, or the bank cannot be used.
        Fault: the ledger or the registry does not answer.
    """
    require_reason(reason)
    passed = judgement.verdict.passed
    if _is_in_production(services, candidate, judgement):
        follow(services, category)
        return Promotion(candidate, judgement, None, judgement.production)
    allowed: Action = "propose" if propose or services.params.gate.second_person else "promote"
    action = allowed if passed or force else "refuse"
    return _carry_out(services, candidate, judgement, action, reason, forced=force and not passed)


def approve(
    services: Services, category: str, candidate: BankRecord, judgement: Judgement, proposal: Decision, *, reason: str
) -> Promotion:
    """Carry out what another person proposed, by a judgement of now.

    What was proposed against the gate is approved only while the gate says what it said then.

    Args:
        services: the opened workspace.
        category: the category.
        candidate: the bank version that was proposed and is judged again.
        judgement: of now.
        proposal: as the ledger's `proposal` returns it.
        reason: why, in words; empty: that of the proposal.

    Raises:
        Refused: the same person proposed it, the proposal does not stand any more, or the bank cannot be used.
        Fault: the ledger or the registry does not answer.
    """
    passed = judgement.verdict.passed
    forced = proposal.forced and not passed and judgement.agrees_with(proposal.verdict)
    action: Action = "promote" if passed or forced else "refuse"
    why = reason.strip() or f"approved: {proposal.reason}"
    return _carry_out(services, candidate, judgement, action, why, forced=forced, proposal=proposal.sequence)


def rollback(
    services: Services, category: str, *, reason: str, to: int | None = None, repaired: bool = False
) -> Decision:
    """Bring back the version that was in production before, or the one that is named.

    A rollback that a crash interrupted is completed: it goes down one step, not two.

    Args:
        services: the opened workspace.
        category: the category.
        reason: why, in words.
        to: the version; None: the one before.
        repaired: whether the registry had not followed the ledger, and has been put right just now.

    Raises:
        UsageError: there is no reason.
        Refused: nothing was in production before, or the version named never was.
    """
    require_reason(reason)
    if begun := _begun(services, category, reason, to, repaired=repaired):
        follow(services, category)
        return begun
    production = services.ledger.production(category)
    earlier = _earlier_versions(services, category)
    version = to if to is not None else next(iter(earlier), None)
    if version is None or version not in earlier:
        raise Refused(
            f"{category} cannot go back",
            got="no version named" if version is None else f"version {version}",
            expected=f"one that was in production before: {', '.join(map(str, earlier)) or 'there is none'}",
            remedy=f"name one of these with --to, or run: patchcore promote {category} VERSION",
        )
    bank = bank_record(services, category, version)
    require_usable(services, bank)
    decision = services.ledger.decide(
        category,
        action="rollback",
        to_version=version,
        bank_sha256=bank.sha256,
        reason=reason,
        forced=False,
        verdict={},
        who=who(),
        expected=production.decision if production else None,
    )
    follow(services, category)
    return decision


def require_reason(reason: str) -> None:
    """Check that a reason says something.

    Raises:
        UsageError: it is empty.
    """
    if not reason.strip():
        raise UsageError("a decision about production has a reason", "none", "a few words", "say it with --reason TEXT")


def _carry_out(
    services: Services,
    candidate: BankRecord,
    judgement: Judgement,
    action: Action,
    reason: str,
    *,
    forced: bool,
    proposal: int | None = None,
) -> Promotion:
    category, before = candidate.category, judgement.production
    if action != "refuse":
        require_usable(services, candidate)
    decision = services.ledger.decide(
        category,
        action=action,
        to_version=candidate.version,
        bank_sha256=candidate.sha256,
        reason=reason,
        forced=forced,
        verdict=judgement.record,
        who=who(),
        expected=before.decision if before else None,
        proposal=proposal,
    )
    follow(services, category)
    return Promotion(candidate, judgement, decision, services.ledger.production(category))


def _is_in_production(services: Services, candidate: BankRecord, judgement: Judgement) -> bool:
    """Say whether there is nothing to decide.

    Raises:
        Refused: there was not when the candidate was judged, and there is now.
    """
    before = judgement.production
    if before is None or before.version != candidate.version:
        return False
    if (now := services.ledger.production(candidate.category)) and now.decision != before.decision:
        raise Refused(
            f"bank {candidate.category} {candidate.version} was in production, which changed meanwhile",
            got=f"bank {now.version} since {now.since}",
            expected="production as it was when this decision was prepared",
            remedy="look at the history of the category, then decide again",
        )
    return True


def _begun(services: Services, category: str, reason: str, to: int | None, *, repaired: bool) -> Decision | None:
    """Return the last decision if it is the rollback that is asked for, recorded by a command that crashed.

    Without a version named it is, if the registry had not followed it, or if no checkpoint names it: a command makes
    one when it is done.
    """
    changes = [each for each in services.ledger.history(category) if each.action in CHANGES_PRODUCTION]
    last = changes[-1] if changes else None
    if last is None or (last.action, last.reason, last.who) != ("rollback", reason, who()):
        return None
    if to is None:
        checkpoints = services.ledger.checkpoints()
        named = bool(checkpoints) and checkpoints[-1].size >= last.sequence
        return last if repaired or not named else None
    return last if to == last.to_version else None


def _earlier_versions(services: Services, category: str) -> list[int]:
    """Return what going back leads to, the nearest first: a promotion goes one up, a rollback comes down again."""
    ladder: list[int] = []
    for decision in services.ledger.history(category):
        if decision.action not in CHANGES_PRODUCTION:
            continue
        if decision.action == "rollback" and decision.to_version in ladder:
            del ladder[ladder.index(decision.to_version) + 1 :]
        else:
            ladder.append(decision.to_version)
    return [version for version in dict.fromkeys(ladder[-2::-1]) if version != ladder[-1]]
