"""The checks that a command makes before Prefect starts, and that the operation makes again."""

from dataclasses import replace

import pytest

from patchcore.adapters.ledger.promotions import check_approver
from patchcore.adapters.ledger.records import Action, Decision
from patchcore.errors import CannotRollBack, MissingReason, OwnProposal, UsageError
from patchcore.lifecycle.production.checks import RollbackTarget, check_reason, check_rollback, last_change

REASON = "it missed a crack"


def history(*entries: tuple[int, Action]) -> list[Decision]:
    """Decisions about versions, in their order, all by ann and for another reason than `REASON`."""
    return [
        Decision(number, "part", action, None, version, "0" * 64, "why", False, {}, None, "ann", f"2026-01-0{number}")
        for number, (version, action) in enumerate(entries, start=1)
    ]


def target(decisions: list[Decision], to: int | None = None) -> RollbackTarget:
    return check_rollback("part", decisions, reason=REASON, to=to, user="ann")


def refused(decisions: list[Decision], to: int | None = None) -> bool:
    try:
        target(decisions, to)
    except CannotRollBack:
        return True
    return False


def test_a_rollback_that_leads_nowhere_is_refused() -> None:
    assert refused([])
    decisions = history((1, "promote"), (2, "refuse"))
    assert refused(decisions)
    assert refused(decisions, to=2)
    decisions = history((1, "promote"), (2, "promote"), (3, "promote"))
    assert target(decisions) == RollbackTarget(2, expected=3, repeated=None)
    assert target(decisions, to=1).version == 1
    assert refused(decisions, to=3)
    assert refused(decisions, to=4)
    decisions = history((1, "promote"), (2, "promote"), (3, "promote"), (2, "rollback"), (1, "rollback"))
    assert refused(decisions)
    assert refused(decisions, to=2)  # production went back from that one
    assert target([*decisions, *history((3, "promote"))]).version == 1


def test_the_same_rollback_again_leads_to_the_version_in_production() -> None:
    decisions = history((1, "promote"), (2, "promote"), (1, "rollback"))
    decisions[-1] = replace(decisions[-1], reason=REASON)
    assert target(decisions) == RollbackTarget(1, expected=3, repeated=decisions[-1])
    assert target(decisions, to=1).repeated == decisions[-1]
    assert refused(decisions, to=2)
    with pytest.raises(CannotRollBack):
        check_rollback("part", decisions, reason=REASON, to=None, user="bob")
    assert not target([*decisions, *history((2, "promote"))]).repeated


def test_a_decision_needs_a_reason() -> None:
    with pytest.raises(MissingReason, match="got none, expected a few words") as caught:
        check_reason("")
    assert isinstance(caught.value, UsageError)
    with pytest.raises(MissingReason):
        check_rollback("part", history((1, "promote"), (2, "promote")), reason=" ", to=None, user="ann")


@pytest.mark.parametrize("who", ["ann", "Ann ", "ann@another-host"])
def test_you_cannot_approve_your_own_proposal(who: str) -> None:
    (proposal,) = history((2, "propose"))
    with pytest.raises(OwnProposal, match="expected a person other than ann"):
        check_approver(proposal, who)
    check_approver(proposal, "bob")


def test_production_rests_on_the_last_decision_that_changed_it() -> None:
    decisions = history((1, "promote"), (2, "refuse"), (3, "propose"))
    assert last_change(decisions) == decisions[0]
    assert last_change(decisions[1:]) is None
