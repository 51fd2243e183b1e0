"""MLflow's alias and tags follow the ledger, and are put right where a crash or a hand left them otherwise."""

import json
import threading

import pytest

from patchcore.adapters.ledger.records import Decision
from patchcore.errors import Fault, Refused
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.evidence.verification import verify
from patchcore.lifecycle.production import promotion, reconciliation
from patchcore.lifecycle.production.gating import judge
from patchcore.lifecycle.production.reconciliation import production_tags
from patchcore.lifecycle.services import Services, open_services
from tests.support.registered_banks import CATEGORY, promote, with_gate


def tags(services: Services) -> dict[int, str | None]:
    """Return the tags of all versions, which have to be those that the ledger's history makes."""
    found = services.registry.production_tags(CATEGORY)
    assert {version: text for version, text in found.items() if text} == production_tags(
        services.ledger.history(CATEGORY)
    )
    return dict(sorted(found.items()))


def test_a_version_says_since_when_it_is_in_production_and_when_it_was_replaced(candidates: Services) -> None:
    assert tags(candidates) == {1: None, 2: None, 3: None}
    first = promote(candidates, 1).decision
    assert first is not None
    assert tags(candidates) == {1: f"since {first.at}, decision {first.sequence} by ann", 2: None, 3: None}
    second = promote(candidates, 2).decision
    assert second is not None
    replaced = f"from {first.at}, decision {first.sequence} by ann, to {second.at}, replaced by version 2"
    assert tags(candidates)[1] == f"{replaced}, decision {second.sequence}"
    back = promotion.rollback(candidates, CATEGORY, reason="it missed a crack").decision
    assert tags(candidates)[1] == f"since {back.at}, decision {back.sequence} by ann"
    assert candidates.registry.alias(CATEGORY) == 1
    assert candidates.ledger.events(CATEGORY, "reconcile") == []  # nothing was wrong at any time


def test_what_somebody_moved_is_repaired_reported_and_recorded_once(candidates: Services) -> None:
    promote(candidates, 1)
    promote(candidates, 2)
    right = tags(candidates)
    candidates.registry.set_alias(CATEGORY, 3)
    candidates.registry.set_production_tag(CATEGORY, 3, "since ever")
    candidates.registry.set_production_tag(CATEGORY, 2, None)
    said = reconciliation.reconcile(candidates, CATEGORY)
    assert len(said) == 3
    assert f"the alias production of {CATEGORY} named version 3; now it names version 2, as in the ledger" in said
    assert any("version 3" in line and "'since ever'" in line for line in said)
    assert candidates.registry.alias(CATEGORY) == 2
    assert tags(candidates) == right
    (event,) = candidates.ledger.events(CATEGORY, "reconcile")
    assert event.summary == {"was": 3, "is": 2, "repairs": said}
    assert event.who == "ann"
    assert reconciliation.reconcile(candidates, CATEGORY) == []
    assert len(candidates.ledger.events(CATEGORY)) == 1


def test_an_alias_that_is_gone_comes_back(candidates: Services) -> None:
    promote(candidates, 1)
    candidates.registry.remove_alias(CATEGORY)
    (line,) = reconciliation.reconcile(candidates, CATEGORY)
    assert "named nothing" in line
    assert candidates.registry.alias(CATEGORY) == 1


def test_an_alias_that_no_promotion_made_goes(candidates: Services) -> None:
    candidates.registry.set_alias(CATEGORY, 3)
    # A ledger that knows no decision at all may be another plant's: it takes nothing away.
    assert reconciliation.reconcile(candidates, CATEGORY) == []
    promote(candidates, 1, propose=True)
    assert candidates.registry.alias(CATEGORY) is None  # a proposal puts nothing in production


def test_a_crash_between_ledger_and_registry_is_made_up_for_by_the_same_command(
    candidates: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote(candidates, 1)

    def dies(*_: object) -> None:
        raise Fault("MLflow", "no answer", "an answer", "start it")

    with monkeypatch.context() as patch:
        patch.setattr(candidates.registry, "set_alias", dies)
        with pytest.raises(Fault):
            promote(candidates, 2)
    assert candidates.registry.alias(CATEGORY) == 1
    assert promote(candidates, 2).decision is None
    assert candidates.registry.alias(CATEGORY) == 2
    tags(candidates)


def test_who_wrote_looks_again_whether_somebody_decided_meanwhile(
    candidates: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow writer whose decision is no longer the last must not leave its own version behind."""
    registry, set_alias = candidates.registry, candidates.registry.set_alias
    bank = bank_record(candidates, CATEGORY, 3)

    def slow(category: str, version: int) -> None:
        if version == 2:  # meanwhile somebody else decides for 3, and is done before this write
            monkeypatch.setattr(registry, "set_alias", set_alias)
            promotion.promote(candidates, CATEGORY, bank, judge(candidates, CATEGORY, bank), reason="quick")
            assert registry.alias(CATEGORY) == 3
        set_alias(category, version)

    promote(candidates, 1)
    monkeypatch.setattr(registry, "set_alias", slow)
    done = promote(candidates, 2)
    assert done.production is not None
    assert (done.production.version, registry.alias(CATEGORY)) == (3, 3)
    tags(candidates)


def test_versions_that_were_deleted_by_hand_need_no_tag(candidates: Services) -> None:
    promote(candidates, 1)
    promote(candidates, 2)
    from mlflow import MlflowClient

    uri = candidates.registry.tracking_uri
    MlflowClient(uri, registry_uri=uri).delete_model_version(CATEGORY, "1")
    assert reconciliation.follow(candidates, CATEGORY) == []
    assert candidates.registry.alias(CATEGORY) == 2


def test_the_gate_judges_the_metrics_in_the_ledger_not_those_in_mlflow(candidates: Services) -> None:
    promote(candidates, 1)
    measured = bank_record(candidates, CATEGORY, 2).metrics
    assert measured is not None
    assert verify(candidates).ok
    lie = json.dumps({**measured, "image_auroc": 0.123})
    candidates.registry._client.set_model_version_tag(CATEGORY, "2", "metrics", lie)
    candidates.registry._client.set_model_version_tag(CATEGORY, "2", "evaluation_sha256", "0" * 64)
    done = promote(candidates, 2)
    assert done.promoted
    assert done.judgement.record.metrics == measured
    (problem,) = verify(candidates).problems
    expected = f"MLflow has image_auroc 0.123, the record has {measured['image_auroc']}"
    assert problem == f"bank {CATEGORY} 2 is not the one that was recorded: {expected}"


def test_the_same_rollback_again_changes_nothing(candidates: Services) -> None:
    for version in (1, 2, 3):
        promote(candidates, version)
    back = promotion.rollback(candidates, CATEGORY, reason="it missed a crack")
    assert (back.decision.to_version, back.repeated) == (2, False)
    candidates.registry.set_alias(CATEGORY, 3)  # as a kill before the registry followed leaves it
    for to in (None, 2):
        again = promotion.rollback(candidates, CATEGORY, reason="it missed a crack", to=to)
        assert (again.decision, again.repeated) == (back.decision, True)
    assert candidates.registry.alias(CATEGORY) == 2
    assert promotion.rollback(candidates, CATEGORY, reason="it missed another one").decision.to_version == 1
    with pytest.raises(Refused, match="there is none"):
        promotion.rollback(candidates, CATEGORY, reason="it missed a third one")


def test_a_decision_that_mlflow_has_not_followed_yet_is_no_repair(
    candidates: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score asks while somebody promotes: between the record and the alias, and in the middle of its questions."""
    promote(candidates, 1)
    follow, others = reconciliation.follow, open_services(candidates.workspace.root)

    def slow(services: Services, category: str) -> list[str]:
        monkeypatch.setattr(promotion, "follow", follow)
        finishing = threading.Timer(reconciliation._PATIENCE / 4, follow, (services, category))
        finishing.start()
        assert reconciliation.reconcile(others, CATEGORY) == []
        finishing.join()
        return []

    monkeypatch.setattr(promotion, "follow", slow)
    assert promote(candidates, 2).promoted
    assert candidates.registry.alias(CATEGORY) == 2
    history = candidates.ledger.history

    def then(category: str) -> list[Decision]:
        found = history(category)
        monkeypatch.setattr(candidates.ledger, "history", history)
        promote(open_services(candidates.workspace.root), 3)
        return found

    monkeypatch.setattr(candidates.ledger, "history", then)
    assert reconciliation.reconcile(candidates, CATEGORY) == []
    assert candidates.registry.alias(CATEGORY) == 3
    assert candidates.ledger.events(CATEGORY, "reconcile") == []


def test_a_promotion_by_force_is_done_when_it_is_run_again(candidates: Services) -> None:
    promote(candidates, 1)
    strict = with_gate(candidates.workspace, normals_at_least=99)
    words = {"force": True, "reason": "the line waits"}
    first = promote(strict, 2, **words)
    again = promote(strict, 2, **words)
    assert (first.promoted, first.forced) == (True, True)
    assert (again.decision, again.last_change, again.forced) == (None, first.decision, True)
    assert len(strict.ledger.history(CATEGORY)) == 2
