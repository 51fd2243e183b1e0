"""Which bank is in production: judged by the gate, decided in the ledger, followed by the registry."""

from dataclasses import dataclass

from patchcore.adapters.ledger.records import CHANGES_PRODUCTION, Action, BankRecord, Decision, Production
from patchcore.errors import Refused, UsageError
from patchcore.evaluation.gate import Verdict
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.production.gating import Judgement, judge, require_usable
from patchcore.lifecycle.production.reconciliation import follow, reconcile
from patchcore.lifecycle.services import Services, who

__all__ = ["Judgement", "Promotion", "approve", "judge", "promote", "reconcile", "rollback"]


@dataclass(frozen=True)
class Promotion:
    """How a bank version fared.

    Attributes:
        bank: the bank version that was judged.
        judgement: of the gate, with the metrics that it rests on.
        decision: the ledger's record; None where there was nothing to decide: the version is in production already.
        production: what is in production now; None where nothing is yet.
        standing: where there was nothing to decide, the record that brought the version to production.
    """

    bank: BankRecord
    judgement: Judgement
    decision: Decision | None
    production: Production | None
    standing: Decision | None = None

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
        """Whether this was decided against the gate, by this command or by the one before it."""
        decided = self.decision or self.standing
        return decided is not None and decided.forced


@dataclass(frozen=True)
class Rollback:
    """A way back, and whether it had been gone before: by the same person for the same reason."""

    decision: Decision
    repeated: bool


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
        return _nothing_to_decide(services, candidate, judgement)
    allowed: Action = "propose" if propose or services.params.gate.second_person else "promote"
    action = allowed if passed or force else "refuse"
    forced = force and not passed
    if action == "propose" and (made := _own_proposal(services, candidate, reason, forced=forced)):
        follow(services, category)
        return Promotion(candidate, judgement, made, judgement.production)
    return _carry_out(services, candidate, judgement, action, reason, forced=forced)


def approve(
    services: Services, category: str, candidate: BankRecord, judgement: Judgement, *, reason: str
) -> Promotion:
    """Carry out what another person proposed, by a judgement of now; what the same person approved stays so.

    What was proposed against the gate is approved only while the gate says what it said then.

    Args:
        services: the opened workspace.
        category: the category.
        candidate: the bank version that was proposed and is judged again.
        judgement: of now.
        reason: why, in words; empty: that of the proposal.

    Raises:
        Refused: the same person proposed it, no proposal stands, or the bank cannot be used.
        Fault: the ledger or the registry does not answer.
    """
    last = _last_change(services, category)
    if last and last.proposal is not None and (last.to_version, last.who) == (candidate.version, who()):
        return _nothing_to_decide(services, candidate, judgement)
    proposal = services.ledger.proposal(category, candidate.version)
    passed = judgement.verdict.passed
    forced = proposal.forced and not passed and judgement.agrees_with(proposal.verdict)
    action: Action = "promote" if passed or forced else "refuse"
    why = reason.strip() or f"approved: {proposal.reason}"
    return _carry_out(services, candidate, judgement, action, why, forced=forced, proposal=proposal.sequence)


def rollback(services: Services, category: str, *, reason: str, to: int | None = None) -> Rollback:
    """Bring back the version that was in production before, or the one that is named.

    The same rollback again, after a crash say, is the one that there is: it goes down one step, not two. It is the same
    while nothing else changed production, if the same person gives the same reason.

    Args:
        services: the opened workspace.
        category: the category.
        reason: why, in words.
        to: the version; None: the one before.

    Raises:
        UsageError: there is no reason.
        Refused: nothing was in production before, or the version named never was.
    """
    require_reason(reason)
    last = _last_change(services, category)
    if last and (last.action, last.reason, last.who) == ("rollback", reason, who()) and to in {None, last.to_version}:
        follow(services, category)
        return Rollback(last, repeated=True)
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
    return Rollback(decision, repeated=False)


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


def _nothing_to_decide(services: Services, candidate: BankRecord, judgement: Judgement) -> Promotion:
    """Return what a command finds whose work is done: by another one, or by itself before it was killed."""
    follow(services, candidate.category)
    standing = _last_change(services, candidate.category)
    return Promotion(candidate, judgement, None, services.ledger.production(candidate.category), standing)


def _own_proposal(services: Services, candidate: BankRecord, reason: str, *, forced: bool) -> Decision | None:
    """Return the proposal that this person made for this reason, while it stands."""
    try:
        made = services.ledger.proposal(candidate.category, candidate.version)
    except Refused:
        return None
    return made if (made.who, made.reason, made.forced) == (who(), reason, forced) else None


def _last_change(services: Services, category: str) -> Decision | None:
    """Return the decision that production rests on."""
    changes = [each for each in services.ledger.history(category) if each.action in CHANGES_PRODUCTION]
    return changes[-1] if changes else None


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
