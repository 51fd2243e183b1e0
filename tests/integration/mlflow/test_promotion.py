"""Production by hand: promote, roll back, and an alias that somebody moved, on real banks."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from patchcore._util.files import sha256_of
from patchcore.cli.demo.data import DemoImages, fill_batch
from patchcore.config.workspace import Workspace
from patchcore.errors import Refused
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.production import promotion
from patchcore.lifecycle.production.gating import judge
from patchcore.lifecycle.services import Services, open_services
from tests.support.errors import line_of

Done = CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def services(
    grown: tuple[Workspace, list[Done]], copy: Callable[[Workspace, Path], Workspace], tmp_path: Path
) -> Services:
    """Bank version 2 in production, after 1."""
    return open_services(copy(grown[0], tmp_path / "workspace").root)


def production(services: Services) -> int:
    """Return what is in production, as the ledger and the alias agree on it."""
    record = services.ledger.production("cell")
    assert record is not None
    assert services.registry.alias("cell") == record.version
    return record.version


def stricter(services: Services, old: str, new: str) -> None:
    text = services.workspace.params.read_text()
    assert old in text
    services.workspace.params.write_text(text.replace(old, new))


def test_a_version_is_promoted_by_hand_through_the_gate(services: Services, run: Run) -> None:
    done = run("promote", "cell", 1, "--reason", "as good", "--json", "-w", services.workspace.root)
    value = json.loads(done.stdout)
    assert (done.returncode, value["bank_version"], value["promoted"], value["production"]) == (0, 1, True, 1)
    assert any("of version 2 in production" in reason for reason in value["gate"]["reasons"])
    assert production(services) == 1
    last = services.ledger.history("cell")[-1]
    assert (last.action, last.from_version, last.to_version, last.reason) == ("promote", 2, 1, "as good")
    assert (last.who, last.forced) == ("tester", False)


def test_what_is_in_production_already_is_promoted_without_a_new_decision(services: Services, run: Run) -> None:
    before = services.ledger.history("cell")
    done = run("promote", "cell", 2, "--json", "-w", services.workspace.root)
    value = json.loads(done.stdout)
    assert (done.returncode, value["promoted"], value["decision"]) == (0, False, None)
    assert value["production_since"] == before[-1].at
    shown = run("promote", "cell", 2, "-w", services.workspace.root).stdout
    since = before[-1].at.replace("T", " ")
    assert f"  version 2 is in production already, since {since}, nothing to decide\n" in shown
    assert services.ledger.history("cell") == before


def test_a_version_that_fails_the_gate_is_refused_and_production_stays(services: Services, run: Run) -> None:
    stricter(services, "image_auroc_at_least: 0.5", "image_auroc_at_least: 0.999")
    done = run("promote", "cell", 1, "--json", "-w", services.workspace.root)
    value = json.loads(done.stdout)
    assert (done.returncode, value["promoted"], value["production"]) == (3, False, 2)
    assert any(reason.startswith("failed: image_auroc") for reason in value["gate"]["reasons"])
    assert services.ledger.history("cell")[-1].action == "refuse"
    assert production(services) == 2


def test_rollback_goes_down_one_step_at_a_time_and_stops_at_the_first(services: Services, run: Run) -> None:
    root = services.workspace.root
    assert run("promote", "cell", 1, "-w", root).returncode == 0  # production was 1, then 2, now 1 again
    for version, before in ((2, 1), (1, 2)):
        words = ("rollback", "cell", "--reason", f"version {before} missed a crack", "-w", root)
        done = run(*words, "--json")
        value = json.loads(done.stdout)
        assert value["repeated"] is False
        assert (done.returncode, value["bank_version"], value["from_version"]) == (0, version, before)
        assert value["bank_sha256"] == services.registry.version("cell", version).bank_sha256
        assert production(services) == version
        again = run(*words)
        assert again.returncode == 0
        assert "already, for this reason; to go further back: --to VERSION" in again.stdout
        assert production(services) == version
    done = run("rollback", "cell", "--reason", "once more", "--json", "-w", root)
    assert done.returncode == 3
    assert "there is none" in done.stderr
    assert production(services) == 1
    assert [entry.action for entry in services.ledger.history("cell")][-2:] == ["rollback", "rollback"]


def test_rollback_to_a_version_that_never_was_in_production_is_refused(services: Services, run: Run) -> None:
    done = run("rollback", "cell", "--reason", "why not", "--to", 7, "-w", services.workspace.root)
    assert done.returncode == 3
    assert "version 7" in done.stderr
    assert production(services) == 2


def test_retrain_after_a_rollback_leaves_it_as_it_is(services: Services, run: Run) -> None:
    root = services.workspace.root
    assert run("rollback", "cell", "--reason", "it missed a crack", "-w", root).returncode == 0
    value = json.loads(run("retrain", "cell", "--json", "-w", root).stdout)
    assert (value["bank_version"], value["promoted"], value["production"]) == (2, False, 1)
    assert production(services) == 1


def test_an_alias_moved_by_hand_follows_the_ledger_again(
    services: Services, run: Run, cells: DemoImages, tmp_path: Path
) -> None:
    services.registry.set_alias("cell", 1)
    fill_batch(cells.batches[1][:1], tmp_path / "line")
    done = run("score", "cell", tmp_path / "line", "--batch", "b", "--json", "-w", services.workspace.root)
    assert (done.returncode, json.loads(done.stdout)["bank_version"]) == (0, 2)
    assert production(services) == 2


def test_reconcile_reports_each_repair_on_stderr_and_in_json(services: Services, run: Run) -> None:
    root = services.workspace.root
    services.registry.set_alias("cell", 1)
    done = run("reconcile", "cell", "--json", "-w", root)
    value = json.loads(done.stdout)
    assert (done.returncode, value["production"], len(value["reconciled"])) == (0, 2, 1)
    assert "named version 1; now it names version 2, as in the ledger" in value["reconciled"][0]
    again = run("reconcile", "cell", "-w", root)
    assert again.stdout.strip() == "cell: version 2 is in production; MLflow matches the ledger"
    services.registry.set_alias("cell", 1)
    done = run("promote", "cell", 2, "--json", "-w", root)
    assert json.loads(done.stdout)["reconciled"] == value["reconciled"]
    assert "reconciled: the alias production of cell named version 1" in done.stderr
    assert [event.summary["was"] for event in services.ledger.events("cell", "reconcile")] == [1, 1]
    assert production(services) == 2


def test_force_needs_a_reason_and_is_shown_as_forced(services: Services, run: Run) -> None:
    root = services.workspace.root
    stricter(services, "image_auroc_at_least: 0.5", "image_auroc_at_least: 0.999")
    before = services.ledger.history("cell")
    for words in (("--force",), ("--force", "--reason", " "), ("--approve", "--force", "--reason", "x")):
        done = run("promote", "cell", 1, *words, "-w", root)
        assert (done.returncode, done.stderr.count("error: ")) == (2, 1), done.stderr
    assert services.ledger.history("cell") == before
    done = run("promote", "cell", 1, "--force", "--reason", "the line waits", "--json", "-w", root)
    value = json.loads(done.stdout)
    assert (done.returncode, value["promoted"], value["forced"], value["production"]) == (0, True, True, 1)
    assert value["gate"]["passed"] is False
    assert production(services) == 1
    decision = services.ledger.history("cell")[-1]
    assert (decision.sequence, decision.forced, decision.reason) == (value["decision"], True, "the line waits")
    assert decision.verdict["reasons"] == value["gate"]["reasons"]
    assert f"decision {decision.sequence} by tester, forced" in (services.registry.production_tags("cell")[1] or "")


def test_one_person_proposes_and_another_one_approves(
    services: Services, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = services.workspace.root
    stricter(services, "second_person: false", "second_person: true")
    done = run("promote", "cell", 1, "--reason", "as good", "--json", "-w", root)
    value = json.loads(done.stdout)
    assert (done.returncode, value["promoted"], value["proposed"], value["production"]) == (0, False, True, 2)
    own = run("promote", "cell", 1, "--approve", "--json", "-w", root)
    assert own.returncode == 3
    assert "you cannot approve your own proposal" in line_of(json.loads(own.stdout)["error"])
    assert production(services) == 2
    monkeypatch.setenv("PATCHCORE_USER", "another")
    approved = json.loads(run("promote", "cell", 1, "--approve", "--json", "-w", root).stdout)
    assert (approved["promoted"], approved["production"], approved["proposal"]) == (True, 1, value["decision"])
    assert production(services) == 1
    again = run("promote", "cell", 1, "--approve", "--json", "-w", root)
    assert (again.returncode, json.loads(again.stdout)["decision"]) == (0, None)
    monkeypatch.setenv("PATCHCORE_USER", "a third one")
    once_more = run("promote", "cell", 1, "--approve", "-w", root)
    assert once_more.returncode == 3
    assert "approved by another" in once_more.stderr


def test_a_judgement_does_not_outlive_the_production_that_it_was_reached_against(services: Services) -> None:
    bank = bank_record(services, "cell", 1)
    judgement = judge(services, "cell", bank)  # against version 2
    assert judgement.verdict.passed
    promotion.rollback(services, "cell", reason="somebody else was quicker")
    with pytest.raises(Refused, match="changed meanwhile"):
        promotion.promote(services, "cell", bank, judgement, reason="late")
    assert [decision.action for decision in services.ledger.history("cell")][-1] == "rollback"
    assert production(services) == 1


def test_a_bank_that_cannot_be_used_does_not_come_back_to_production(services: Services) -> None:
    shutil.rmtree(services.workspace.bank_cache)
    version = services.registry.version("cell", 1)
    for arrays in services.workspace.registry_artifacts.rglob("bank/arrays.safetensors"):
        if sha256_of(arrays.with_name("bank.json")) == version.bank_sha256:
            arrays.write_bytes(arrays.read_bytes()[:-1])
    with pytest.raises(Refused, match="bank version 1"):
        promotion.rollback(services, "cell", reason="it was better")
    assert production(services) == 2


def test_a_bank_measured_on_another_evaluation_set_is_measured_again(services: Services) -> None:
    bank = bank_record(services, "cell", 1)
    before = judge(services, "cell", bank)
    removed = sorted((services.workspace.evaluation("cell") / "good").iterdir())[0]
    removed.unlink()
    after = judge(services, "cell", bank)
    assert "met: normal evaluation images 6 >= 6" in before.verdict.reasons
    assert "failed: normal evaluation images 5 < 6" in after.verdict.reasons
    assert any("of version 2 in production" in reason for reason in after.verdict.reasons)
