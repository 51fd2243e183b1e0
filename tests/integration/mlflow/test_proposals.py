"""A second person: what one proposes another one approves, once, and only while nothing has come in between."""

import shutil
from typing import Any

import pytest

from patchcore._util.files import sha256_of
from patchcore.adapters.ledger import Ledger
from patchcore.adapters.ledger.records import Decision
from patchcore.errors import Refused, UsageError
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.production import promotion
from patchcore.lifecycle.production.gating import judge
from patchcore.lifecycle.production.promotion import Promotion
from patchcore.lifecycle.services import Services
from tests.support.ledgers import add_bank, add_dataset, decide, normal
from tests.support.registered_banks import CATEGORY, promote, with_gate


@pytest.fixture
def banks(ledger: Ledger) -> Ledger:
    """Banks 1, 2 and 3 of bottle, the first in production; one ledger on each database."""
    add_dataset(ledger, [normal("one.png")])
    for number in (1, 2, 3):
        add_bank(ledger, number)
    decide(ledger, 1)
    return ledger


def test_another_person_approves_a_proposal_once(banks: Ledger) -> None:
    proposal = decide(banks, 2, "propose", who="ann")
    assert banks.production("bottle").version == 1  # type: ignore[union-attr]
    assert banks.proposal("bottle", 2) == proposal
    approved = decide(banks, 2, who="bob", proposal=proposal.sequence)
    assert (approved.from_version, approved.to_version, approved.proposal) == (1, 2, proposal.sequence)
    with pytest.raises(Refused, match="approved by bob"):
        banks.proposal("bottle", 2)
    with pytest.raises(Refused, match="approved by bob"):
        decide(banks, 2, who="eve", proposal=proposal.sequence)
    assert [entry.action for entry in banks.history("bottle")] == ["promote", "propose", "promote"]


@pytest.mark.parametrize("who", ["ann", "Ann ", "ann@another-host"])
def test_a_proposal_is_not_approved_by_the_person_who_made_it(banks: Ledger, who: str) -> None:
    proposal = decide(banks, 2, "propose", who="ann")
    with pytest.raises(Refused, match="you cannot approve your own proposal") as caught:
        decide(banks, 2, who=who, proposal=proposal.sequence)
    assert caught.value.exit_code == 3
    assert banks.history("bottle")[-1] == proposal


def test_a_newer_proposal_makes_older_ones_stale(banks: Ledger) -> None:
    older = decide(banks, 2, "propose", who="ann")
    newer = decide(banks, 3, "propose", who="eve")
    with pytest.raises(Refused, match=r"a newer one: bank 3, proposed by eve at"):
        banks.proposal("bottle", 2)
    with pytest.raises(Refused, match="a newer one"):
        decide(banks, 2, who="bob", proposal=older.sequence)
    again = decide(banks, 3, "propose", who="bob")
    with pytest.raises(Refused, match="a newer one: proposed by bob"):
        decide(banks, 3, who="ann", proposal=newer.sequence)
    assert decide(banks, 3, who="ann", proposal=again.sequence).to_version == 3


def test_any_change_of_production_makes_a_proposal_stale(banks: Ledger) -> None:
    proposal = decide(banks, 2, "propose", who="ann")
    decide(banks, 3, "refuse")  # changes nothing
    assert banks.proposal("bottle", 2) == proposal
    decide(banks, 3, who="eve")
    decide(banks, 1, "rollback", who="eve")  # production is what it was, by decisions that nobody knew of
    with pytest.raises(Refused, match=r"production changed after it: bank 1, by eve at"):
        decide(banks, 2, who="bob", proposal=proposal.sequence)


def test_what_nobody_proposed_is_not_approved(banks: Ledger) -> None:
    with pytest.raises(Refused, match="no proposal of this version"):
        banks.proposal("bottle", 2)
    decide(banks, 2, "propose", who="ann")
    with pytest.raises(Refused, match="no proposal of this version"):
        banks.proposal("bottle", 3)


def approve(services: Services, version: int, reason: str = "", **changed: Any) -> Promotion:
    bank = bank_record(services, CATEGORY, version)
    judgement = judge(services, CATEGORY, bank)
    return promotion.approve(services, CATEGORY, bank, judgement, reason=reason, **changed)


def last(services: Services) -> Decision:
    return services.ledger.history(CATEGORY)[-1]


def test_a_proposal_leaves_production_alone_until_another_person_approves(
    candidates: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = promote(candidates, 1, propose=True, reason="less false alarms")
    assert (done.promoted, done.proposed, done.production) == (False, True, None)
    assert candidates.registry.alias(CATEGORY) is None
    assert last(candidates).verdict["passed"] is True
    with pytest.raises(Refused, match="you cannot approve your own"):
        approve(candidates, 1)
    assert candidates.ledger.production(CATEGORY) is None
    monkeypatch.setenv("PATCHCORE_USER", "bob")
    approved = approve(candidates, 1)
    assert approved.promoted
    assert candidates.registry.alias(CATEGORY) == 1
    assert done.decision is not None
    decision = last(candidates)
    assert (decision.proposal, decision.who, decision.forced) == (done.decision.sequence, "bob", False)
    assert decision.reason == "approved: less false alarms"
    again = approve(candidates, 1)  # run again after a crash, say
    assert (again.decision, again.last_change) == (None, decision)
    monkeypatch.setenv("PATCHCORE_USER", "carol")
    with pytest.raises(Refused, match="approved by bob"):
        approve(candidates, 1)


def test_a_proposal_that_is_made_again_for_the_same_reason_is_the_one_that_there_is(candidates: Services) -> None:
    first = promote(candidates, 1, propose=True, reason="less false alarms")
    again = promote(candidates, 1, propose=True, reason="less false alarms")
    assert again.proposed
    assert again.decision == first.decision
    other = promote(candidates, 1, propose=True, reason="new lens")
    assert other.decision != first.decision
    assert len(candidates.ledger.history(CATEGORY)) == 2


def test_where_params_ask_for_a_second_person_a_promotion_only_proposes(candidates: Services) -> None:
    services = with_gate(candidates.workspace, second_person=True)
    done = promote(services, 1)
    assert (done.promoted, done.proposed) == (False, True)
    assert services.ledger.production(CATEGORY) is None
    refused = promote(with_gate(services.workspace, normals_at_least=6), 1)
    assert (refused.promoted, refused.proposed, last(services).action) == (False, False, "refuse")


def test_an_approval_is_judged_by_the_rules_of_now(candidates: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(candidates, 1, propose=True)
    monkeypatch.setenv("PATCHCORE_USER", "bob")
    stricter = with_gate(candidates.workspace, normals_at_least=6)
    refused = approve(stricter, 1)
    assert (refused.promoted, last(stricter).action) == (False, "refuse")
    assert "failed: normal evaluation images 5 < 6" in refused.verdict.reasons
    assert approve(with_gate(candidates.workspace, normals_at_least=5), 1).promoted


def test_an_approval_is_judged_on_the_evaluation_set_of_now(
    candidates: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(candidates, 1, propose=True)
    monkeypatch.setenv("PATCHCORE_USER", "bob")
    next((candidates.workspace.evaluation(CATEGORY) / "good").iterdir()).unlink()
    refused = approve(candidates, 1)
    assert "failed: normal evaluation images 4 < 5" in refused.verdict.reasons
    assert (
        last(candidates).verdict["evaluation_sha256"]
        != candidates.ledger.history(CATEGORY)[0].verdict["evaluation_sha256"]
    )


def test_a_proposal_against_the_gate_holds_for_the_verdict_that_it_overrode_alone(
    candidates: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = with_gate(candidates.workspace, normals_at_least=6)
    assert not promote(strict, 1, propose=True).proposed
    forced = promote(strict, 1, propose=True, force=True, reason="the line waits")
    assert (forced.proposed, forced.forced) == (True, True)
    monkeypatch.setenv("PATCHCORE_USER", "bob")
    stricter = with_gate(candidates.workspace, defects_at_least=6)
    assert not approve(stricter, 1).promoted
    as_it_was = with_gate(candidates.workspace, defects_at_least=5)
    approved = approve(as_it_was, 1)
    assert (approved.promoted, approved.forced, last(as_it_was).forced) == (True, True, True)
    assert last(as_it_was).verdict["passed"] is False
    assert (candidates.registry.production_tags(CATEGORY)[1] or "").endswith("by bob, forced")


def test_a_promotion_against_the_gate_is_recorded_with_the_verdict_that_it_overrode(candidates: Services) -> None:
    strict = with_gate(candidates.workspace, normals_at_least=6)
    assert not promote(strict, 1).promoted
    with pytest.raises(UsageError, match="--reason"):
        promote(strict, 1, force=True, reason=" ")
    done = promote(strict, 1, force=True, reason="the line waits")
    assert (done.promoted, done.forced, strict.registry.alias(CATEGORY)) == (True, True, 1)
    decision = last(strict)
    assert (decision.action, decision.forced, decision.reason) == ("promote", True, "the line waits")
    assert decision.verdict["passed"] is False
    assert "failed: normal evaluation images 5 < 6" in decision.verdict["reasons"]
    assert decision.verdict["rules"]["normals_at_least"] == 6
    assert (strict.registry.production_tags(CATEGORY)[1] or "").endswith("by ann, forced")
    met = promote(with_gate(candidates.workspace, normals_at_least=5), 2, force=True)
    assert (met.promoted, met.forced) == (True, False)  # nothing was overridden


@pytest.mark.parametrize("options", [{"force": True}, {"force": True, "propose": True}])
def test_a_bank_that_cannot_score_is_never_forced(candidates: Services, options: dict[str, bool]) -> None:
    damage(candidates, 1)
    with pytest.raises(Refused, match="bank version 1"):
        promote(candidates, 1, **options)
    assert candidates.ledger.history(CATEGORY) == []


def test_a_bank_in_production_that_is_lost_does_not_keep_its_successor_out(candidates: Services) -> None:
    promote(candidates, 1)
    damage(candidates, 1)
    # On another evaluation set both would have to be measured again; the one in production cannot be.
    next((candidates.workspace.evaluation(CATEGORY) / "good").iterdir()).unlink()
    lenient = with_gate(candidates.workspace, normals_at_least=4)
    refused = promote(lenient, 2)
    (failure,) = refused.verdict.failures
    assert failure.startswith("failed: version 1 in production cannot be measured on this evaluation set: ")
    assert promote(lenient, 2, force=True, reason="version 1 is lost").promoted


def damage(services: Services, version: int) -> None:
    """Change a bank in the registry, and forget the copy that this machine has."""
    shutil.rmtree(services.workspace.bank_cache, ignore_errors=True)
    bank = bank_record(services, CATEGORY, version)
    (arrays,) = (
        path
        for path in services.workspace.registry_artifacts.rglob("bank/arrays.safetensors")
        if sha256_of(path.with_name("bank.json")) == bank.sha256
    )
    arrays.write_bytes(arrays.read_bytes()[:-1])
