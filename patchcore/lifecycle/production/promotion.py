"""Changes of production: the gate judges, the ledger decides, MLflow follows."""

from dataclasses import dataclass

from patchcore.adapters.ledger.records import Action, BankRecord, Decision, Production
from patchcore.errors import ProductionChanged, Refused
from patchcore.evaluation.gate import Verdict
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.production.checks import check_approval, check_reason, check_rollback, last_change
from patchcore.lifecycle.production.gating import Judgement, check_usable
from patchcore.lifecycle.production.reconciliation import follow
from patchcore.lifecycle.services import Services, who


@dataclass(frozen=True)
class Promotion:
    """What became of a bank version that was to go to production.

    Attributes:
        bank: The bank version that was judged.
        judgement: The gate's verdict, with the metrics that it is based on.
        decision: The ledger's record; None if there was nothing to decide, because the version is in production
            already.
        production: What is in production now; None before the first promotion.
        last_change: If there was nothing to decide, the record that brought the version to production.
    """

    bank: BankRecord
    judgement: Judgement
    decision: Decision | None
    production: Production | None
    last_change: Decision | None = None

    @property
    def verdict(self) -> Verdict:
        """The gate's verdict."""
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
        decided = self.decision or self.last_change
        return decided is not None and decided.forced


@dataclass(frozen=True)
class Rollback:
    """The decision of a rollback, and whether an earlier command made it: by the same person for the same reason."""

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
    """Record the decision that follows from a judgement in the ledger; then MLflow follows.

    If params.yaml asks for a second person, a promotion is only proposed.

    Args:
        services: The opened workspace.
        category: The category.
        candidate: The bank version that was judged.
        judgement: Its judgement.
        reason: Why, in words.
        force: Promote it although it did not pass the gate; recorded as forced, with the verdict.
        propose: Leave the approval to another person.

    Raises:
        MissingReason: There is no reason.
        ProductionChanged: Production changed after the candidate was judged.
        InvalidBank: The bank is damaged.
        LedgerUnavailable: The ledger does not answer.
        RegistryUnavailable: MLflow does not answer.
    """
    check_reason(reason)
    passed = judgement.verdict.passed
    if _is_in_production(services, candidate, judgement):
        return _nothing_to_decide(services, candidate, judgement)
    wanted: Action = "propose" if propose or services.params.gate.second_person else "promote"
    action = wanted if passed or force else "refuse"
    forced = force and not passed
    if action == "propose" and (made := _same_proposal(services, candidate, reason, forced=forced)):
        follow(services, category)
        return Promotion(candidate, judgement, made, judgement.production)
    return _decide(services, candidate, judgement, action, reason, forced=forced)


def approve(
    services: Services, category: str, candidate: BankRecord, judgement: Judgement, *, reason: str
) -> Promotion:
    """Promote a bank version that another person proposed, if the judgement of now allows it.

    A proposal against the gate is approved only if the gate's verdict is the one that was overridden. To approve again
    what the same person approved changes nothing.

    Args:
        services: The opened workspace.
        category: The category.
        candidate: The bank version that was proposed and is judged again.
        judgement: Its judgement of now.
        reason: Why, in words; empty: the reason of the proposal.

    Raises:
        UnknownProposal: No proposal of this version is open.
        OwnProposal: The same person proposed it.
        ProductionChanged: Production changed after the candidate was judged.
        InvalidBank: The bank is damaged.
        LedgerUnavailable: The ledger does not answer.
        RegistryUnavailable: MLflow does not answer.
    """
    proposal = check_approval(services, category, candidate.version)
    if proposal is None:
        return _nothing_to_decide(services, candidate, judgement)
    passed = judgement.verdict.passed
    forced = proposal.forced and not passed and judgement.record.agrees_with(proposal.verdict)
    action: Action = "promote" if passed or forced else "refuse"
    why = reason.strip() or f"approved: {proposal.reason}"
    return _decide(services, candidate, judgement, action, why, forced=forced, proposal=proposal.sequence)


def rollback(services: Services, category: str, *, reason: str, to: int | None = None) -> Rollback:
    """Bring back the version that was in production before, or the one that is named.

    See `patchcore.lifecycle.production.checks.check_rollback` for the same rollback twice.

    Args:
        services: The opened workspace.
        category: The category.
        reason: Why, in words.
        to: The version; None: the one before.

    Raises:
        MissingReason: There is no reason.
        CannotRollBack: No other version was in production before, or not the one that is named.
        ProductionChanged: Another decision changed production meanwhile.
        InvalidBank: The bank is damaged.
        LedgerUnavailable: The ledger does not answer.
        RegistryUnavailable: MLflow does not answer.
    """
    target = check_rollback(category, services.ledger.history(category), reason=reason, to=to, user=who())
    if target.repeated:
        follow(services, category)
        return Rollback(target.repeated, repeated=True)
    bank = bank_record(services, category, target.version)
    check_usable(services, bank)
    decision = services.ledger.decide(
        category,
        action="rollback",
        to_version=target.version,
        bank_sha256=bank.sha256,
        reason=reason,
        forced=False,
        verdict={},
        who=who(),
        expected=target.expected,
    )
    follow(services, category)
    return Rollback(decision, repeated=False)


def _decide(
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
        check_usable(services, candidate, judgement.bank)
    decision = services.ledger.decide(
        category,
        action=action,
        to_version=candidate.version,
        bank_sha256=candidate.sha256,
        reason=reason,
        forced=forced,
        verdict=judgement.record.model_dump(mode="json"),
        who=who(),
        expected=before.decision if before else None,
        proposal=proposal,
    )
    follow(services, category)
    return Promotion(candidate, judgement, decision, services.ledger.production(category))


def _is_in_production(services: Services, candidate: BankRecord, judgement: Judgement) -> bool:
    """Say whether the candidate is in production, so that there is nothing to decide.

    Raises:
        ProductionChanged: It was in production when it was judged, and production changed since.
    """
    before = judgement.production
    if before is None or before.version != candidate.version:
        return False
    if (now := services.ledger.production(candidate.category)) and now.decision != before.decision:
        raise ProductionChanged(
            f"bank {candidate.category} {candidate.version} was in production, which changed meanwhile",
            got=f"bank {now.version} since {now.since}",
            expected="production as it was when this decision was prepared",
            remedy="look at the history of the category, then decide again",
        )
    return True


def _nothing_to_decide(services: Services, candidate: BankRecord, judgement: Judgement) -> Promotion:
    """Return the state after another command, or this one before it was killed, made the decision."""
    follow(services, candidate.category)
    last = last_change(services.ledger.history(candidate.category))
    return Promotion(candidate, judgement, None, services.ledger.production(candidate.category), last)


def _same_proposal(services: Services, candidate: BankRecord, reason: str, *, forced: bool) -> Decision | None:
    """Return the open proposal of this version that the same person made for the same reason; None if there is none."""
    try:
        made = services.ledger.proposal(candidate.category, candidate.version)
    except Refused:
        return None
    return made if (made.who, made.reason, made.forced) == (who(), reason, forced) else None
