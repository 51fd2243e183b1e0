"""SIGKILL anywhere in ingest, retrain, promote, rollback, withdraw, score; the same command again, and nothing tells.

Each command is run once and its durable effects are counted. Then, once for each of the chosen effects and for some
random moments, it is run in a copy of the same workspace and its whole process group is killed there. Nothing half-done
may be visible; the same command must then bring about exactly what it does when nobody kills it.

`make test` kills at a sample of the effects, `make test-all` at 54 with a ledger in SQLite and around every commit of
one in PostgreSQL. PATCHCORE_KILL_POINTS sets another number, PATCHCORE_KILL_SEED another choice.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import make_url
from sqlalchemy.engine import URL

from patchcore._util.files import sha256_of
from patchcore.adapters.ledger import Ledger
from patchcore.config.workspace import Workspace
from tests.acceptance.kill.effects import LEDGER
from tests.acceptance.kill.harness import Ended, Zygote, counting, run_program, zygote
from tests.acceptance.kill.points import Point, marked, moments
from tests.acceptance.kill.scenario import Scenario, live
from tests.acceptance.kill.state import CATEGORY
from tests.support.ledgers import copy_records
from tests.support.postgresql import new_database

Draw = Callable[..., NDArray[np.uint8]]
Copy = Callable[[Workspace, Path], Workspace]

_SAMPLE, _ALL = 14, 54
_SEED = int(os.environ.get("PATCHCORE_KILL_SEED", "0"))
_SHARES = {
    "ingest": 0.22,
    "retrain": 0.1,
    "register": 0.14,
    "score": 0.22,
    "rollback": 0.08,
    "promote": 0.12,
    "withdraw": 0.12,
}
_MOMENTS = 0.2  # of the points are moments of time


@dataclass(frozen=True)
class Ground:
    """What the tests share: who runs commands, the commands, and the fixtures that they need."""

    zygote: Zygote
    scenarios: dict[str, Scenario]
    copy: Copy


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory, draw: Draw, copy: Copy) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("kill")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "PATCHCORE_LEDGER_URL", "PATCHCORE_WORKSPACE", "PREFECT_API_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("PATCHCORE_USER", "tester")
        with zygote(folder) as running:
            scenarios = {scenario.name: scenario for scenario in live(running, folder, draw, copy)}
            yield Ground(running, scenarios, copy)


@pytest.mark.parametrize("name", _SHARES)
def test_after_a_kill_anywhere_the_same_command_brings_about_what_it_would_have(
    name: str, ground: Ground, tmp_path: Path, sample: Callable[[int, int], int]
) -> None:
    points = int(os.environ.get("PATCHCORE_KILL_POINTS", sample(_SAMPLE, _ALL)))
    scenario, count = ground.scenarios[name], max(2, round(points * _SHARES[name]))
    timed = max(1, round(count * _MOMENTS))

    def chosen(effects: list[str], seconds: float) -> list[Point]:
        return marked(effects, count - timed, _SEED) + moments(seconds, timed, _SEED)

    _kill_at(chosen, ground, scenario, tmp_path, lambda: nullcontext({}))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ingest", "score", "promote"])
def test_a_kill_around_a_commit_of_a_ledger_in_postgresql_is_made_up_for_too(
    name: str, ground: Ground, tmp_path: Path, postgresql_server: URL
) -> None:
    scenario = ground.scenarios[name]

    def chosen(effects: list[str], _: float) -> list[Point]:
        commits = [number for number, effect in enumerate(effects, 1) if effect == LEDGER]
        assert commits
        around = {number: f"before: {effects[number - 1]}" for commit in commits for number in (commit, commit + 1)
                  if number <= len(effects)}  # fmt: skip
        return [Point(str(number), words) for number, words in around.items()]

    with new_database(postgresql_server) as url:
        template = Ledger(url)
        copy_records(Ledger(f"sqlite:///{scenario.before.ledger}"), template)
        template._database._engine.dispose()  # a database that somebody is connected to cannot be copied

        @contextmanager
        def copied() -> Iterator[dict[str, str]]:
            with new_database(postgresql_server, str(make_url(url).database)) as copied:
                yield {"PATCHCORE_LEDGER_URL": copied}

        _kill_at(chosen, ground, scenario, tmp_path, copied)


@pytest.mark.parametrize(
    ("name", "effect"),
    [
        pytest.param("ingest", "git commit", marks=pytest.mark.slow),
        ("score", "commit .patchcore/ledger.db"),
        pytest.param("promote", "UPDATE REGISTERED_MODEL_ALIASES", marks=pytest.mark.slow),
    ],
)
def test_a_command_in_a_process_of_its_own_is_killed_and_run_again(
    name: str, effect: str, ground: Ground, tmp_path: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    scenario = ground.scenarios[name]
    untouched = ground.copy(scenario.before, tmp_path / "untouched")
    assert _run(ground, scenario, untouched, {}).code == 0
    workspace = ground.copy(scenario.before, tmp_path / "workspace")
    words = (*scenario.words, "--workspace", str(workspace.root))
    killed = run_program(words, workspace.root, counting(workspace, tmp_path / "effects", f"={effect}"))
    assert killed.code == -9, killed.said
    assert not ground.zygote.problems(workspace, {})
    again = run_program(words, workspace.root, {})
    assert again.code == 0, again.said
    assert not list(_differences(ground.zygote.state(untouched, {}), ground.zygote.state(workspace, {})))


def _kill_at(
    chosen: Callable[[list[str], float], list[Point]],
    ground: Ground,
    scenario: Scenario,
    folder: Path,
    ledger: Callable[[], AbstractContextManager[dict[str, str]]],
) -> None:
    """Run a command once, then kill it at each of the points that are chosen; a ledger of its own each time."""
    untouched, log = ground.copy(scenario.before, folder / "untouched"), folder / "effects"
    with ledger() as place:
        ended = _run(ground, scenario, untouched, counting(untouched, log) | place)
        assert ended.code == 0, ended.said
        expected = ground.zygote.state(untouched, place)
    assert not expected["problems"]
    effects = log.read_text().splitlines()
    points = chosen(effects, ended.seconds)

    def attempt(point: Point) -> list[str]:
        own = folder / (f"at {point.at}" if point.after is None else f"after {point.after:.6f}")
        with ledger() as place:
            return [
                f"{point.at} {point.words}: {wrong}"
                for wrong in _attempt(ground, scenario, point, own, expected, place)
            ]

    with ThreadPoolExecutor(max_workers=2) as threads:
        found = [wrong for each in threads.map(attempt, points) for wrong in each]
    assert not found, f"{len(points)} kills at {len(effects)} effects\n" + "\n".join(found)


def _attempt(
    ground: Ground, scenario: Scenario, point: Point, folder: Path, expected: dict[str, Any], place: dict[str, str]
) -> Iterator[str]:
    """Kill a command once, look, run it again, and yield all that is not as it should be."""
    folder.mkdir()
    workspace = ground.copy(scenario.before, folder / "workspace")
    log = folder / "effects"
    dropped = set(_digests(workspace))
    killed = _run(ground, scenario, workspace, counting(workspace, log, point.at) | place, point.after)
    if killed.code != -9 and point.after is None:
        yield f"not killed, ended with {killed.code}"
    if lost := dropped - set(_digests(workspace)):
        yield f"{len(lost)} images lost"
    yield from (f"after the kill: {wrong}" for wrong in ground.zygote.problems(workspace, place))
    again = _run(ground, scenario, workspace, place)
    if again.code:
        yield f"run again: exit code {again.code}: {again.said.strip()[-600:]}"
    found = ground.zygote.state(workspace, place)
    yield from (f"run again: {wrong}" for wrong in _differences(expected, found))


def _run(
    ground: Ground, scenario: Scenario, workspace: Workspace, environment: dict[str, str], after: float | None = None
) -> Ended:
    words = (*scenario.words, "--workspace", str(workspace.root))
    return ground.zygote.run("command", words, workspace.root, environment, after)


def _digests(workspace: Workspace) -> Iterator[str]:
    """Yield the content of every image that came, hidden or not."""
    for folder in (workspace.good_normals(CATEGORY), workspace.drop(CATEGORY), workspace.quarantine(CATEGORY)):
        yield from (sha256_of(path) for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".json"))


def _differences(expected: dict[str, Any], found: dict[str, Any]) -> Iterator[str]:
    for name, wanted in expected.items():
        got = found[name]
        if got == wanted:
            continue
        if isinstance(wanted, list) and len(str(wanted)) > 200:
            less, more = [each for each in wanted if each not in got], [each for each in got if each not in wanted]
            yield f"{name}: missing {less}, besides {more}"
        else:
            yield f"{name}: got {got}, expected {wanted}"
