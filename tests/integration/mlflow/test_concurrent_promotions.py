"""16 processes promote different versions at once: one wins, the others are told who, and history is one line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from patchcore.config.workspace import Workspace
from patchcore.lifecycle.production.reconciliation import production_tags, reconcile
from patchcore.lifecycle.services import Services, open_services
from tests.support.places import REPOSITORY
from tests.support.registered_banks import CATEGORY, promote, register

RACERS, ROUNDS = 16, 3
CLONE = REPOSITORY
Copy = Callable[[Workspace, Path], Workspace]
Race = dict[int, tuple[int, str]]


@pytest.fixture(scope="module")
def crowded(registered: Workspace, copy: Copy, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a version for each racer and one more. Not to be changed."""
    workspace = copy(registered, tmp_path_factory.mktemp("crowded") / "workspace")
    register(open_services(workspace.root), RACERS + 1)
    return workspace


@pytest.fixture
def services(
    crowded: Workspace, copy: Copy, ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Services:
    """The same with the first version in production; one ledger on each database."""
    monkeypatch.setenv("PATCHCORE_LEDGER_URL", ledger_url)
    monkeypatch.setenv("PATCHCORE_USER", "worker 1")
    opened = open_services(copy(crowded, tmp_path / "workspace").root)
    register(opened, RACERS + 1)  # MLflow has them; this ledger has not
    assert promote(opened, 1).promoted
    return opened


def test_of_16_processes_that_promote_at_once_exactly_one_wins_each_time(services: Services) -> None:
    winners = [1]
    for outcomes in races(services):
        assert len(outcomes) == RACERS
        assert sorted(code for code, _ in outcomes.values()) == [0] + [3] * (RACERS - 1), outcomes
        (winner,) = (version for version, (code, _) in outcomes.items() if code == 0)
        for version, (code, error) in outcomes.items():
            assert code == 0 or f"got bank {winner}, by worker {winner} at" in error, (version, error)
        winners.append(winner)
    assert len(winners) == ROUNDS + 1
    history = services.ledger.history(CATEGORY)
    assert [(entry.action, entry.from_version, entry.to_version, entry.who) for entry in history] == [
        ("promote", before, winner, f"worker {winner}")
        for before, winner in zip([None, *winners], winners, strict=False)
    ]
    assert services.registry.alias(CATEGORY) == winners[-1]
    tags = services.registry.production_tags(CATEGORY)
    assert {version: text for version, text in tags.items() if text} == production_tags(history)
    assert reconcile(services, CATEGORY) == []  # the registry had followed
    assert services.ledger.verify().ok


def races(services: Services) -> list[Race]:
    """Let a process for each version that is not in production promote it, some rounds; return how they ended."""
    words = (services.workspace.root, ROUNDS, RACERS + 1)
    command = [sys.executable, "-m", "tests.support.promoters", *map(str, words)]
    done = subprocess.run(command, cwd=CLONE, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [
        {int(version): (code, error) for version, (code, error) in json.loads(line).items()}
        for line in done.stdout.splitlines()
    ]
