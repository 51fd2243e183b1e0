"""Scoring a batch again: a record and a folder more, never one too many, and the first stays what it was."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pandas as pd
import pytest

from patchcore._util.files import read_json, sha256_of
from patchcore.cli.demo.data import DemoImages, fill_batch
from patchcore.config.workspace import Workspace
from patchcore.errors import Refused
from patchcore.lifecycle.batch_inputs import receive
from patchcore.lifecycle.batch_results import BatchResults, batch_results
from patchcore.lifecycle.scoring.batches import find_scored, restore_results, score_batch
from patchcore.lifecycle.scoring.checks import require_production
from patchcore.lifecycle.services import Services, open_services
from tests.support.scoring import score, scorer_in_production

Done = CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def line(cells: DemoImages, tmp_path: Path) -> Path:
    fill_batch(cells.batches[0][:3], tmp_path / "line")
    (tmp_path / "line" / "broken.png").write_bytes(b"no image")
    return tmp_path / "line"


@pytest.fixture
def services(workspace: Workspace) -> Services:
    return open_services(workspace.root)


def score_once(services: Services, folder: Path, batch: str, reason: str | None = None) -> BatchResults | None:
    """Score as the flow does; None where it is recorded already."""
    production = require_production(services, "cell")
    images = receive(services.workspace, folder)
    known = find_scored(services, batch, "cell", images, production.bank_sha256, reason)
    if known is None:
        return score(services, folder, batch, reason)
    restore_results(services, known, images)
    return None


def contents(folder: Path) -> dict[str, str]:
    return {str(file.relative_to(folder)): sha256_of(file) for file in folder.rglob("*") if file.is_file()}


def test_a_rescore_adds_a_record_and_a_folder_and_leaves_the_first(run: Run, workspace: Workspace, line: Path) -> None:
    words = ("score", "cell", line, "--batch", "b1", "--json", "-w", workspace.root)
    first = json.loads(run(*words).stdout)
    before = contents(workspace.batch("b1"))
    (line / "broken.png").unlink()  # other images: without --rescore they are refused
    assert run(*words).returncode == 3
    second = json.loads(run(*words, "--rescore", "--reason", "a file was broken").stdout)
    assert (first["scoring"], first["reason"], len(first["failed"])) == (1, None, 1)
    assert (second["scoring"], second["reason"], len(second["failed"])) == (2, "a file was broken", 0)
    assert [entry["scoring"] for entry in second["scorings"]] == [1, 2]
    assert second["scorings"][0]["received"] == second["received"] + 1 == 4
    assert contents(workspace.batch("b1")) == before
    results = read_json(workspace.batch("b1", 2) / "results.json")
    assert results == {
        key: value for key, value in second.items() if key not in {"recorded_before", "reconciled", "anchored"}
    }
    ledger = open_services(workspace.root).ledger
    recorded = ledger.batch("b1", 1)
    assert recorded is not None
    assert batch_results(recorded, ledger.scorings("b1")[:1]).model_dump(mode="json").items() <= first.items()


def test_the_same_rescore_again_is_the_one_that_is_recorded(services: Services, line: Path) -> None:
    score(services, line, "b1")
    assert score_once(services, line, "b1", "a doubt") is not None  # same images, same bank: it was asked for
    shutil.rmtree(services.workspace.batch("b1", 2))  # as a crash between ledger and folder leaves it
    assert score_once(services, line, "b1", "a doubt") is None
    assert (services.workspace.batch("b1", 2) / "results.json").is_file()
    assert score_once(services, line, "b1") is None  # without a reason the last scoring is meant too
    assert score_once(services, line, "b1", "another doubt") is not None
    assert [record.reason for record in services.ledger.scorings("b1")] == [None, "a doubt", "another doubt"]


def test_two_equal_rescores_at_once_are_one_record(services: Services, line: Path) -> None:
    score(services, line, "b1")
    scorer = scorer_in_production(services)
    received = receive(services.workspace, line)
    one, other = (  # as if both had looked before either wrote
        score_batch(services, scorer, "b1", received, flow_run_id=None, reason="a doubt") for _ in range(2)
    )
    assert one == other
    assert one.record.scoring == len(services.ledger.scorings("b1")) == 2


def test_two_different_rescores_at_once_have_a_folder_each(services: Services, line: Path) -> None:
    score(services, line, "b1")
    scorer = scorer_in_production(services)
    received = receive(services.workspace, line)
    for reason in ("a doubt", "another"):
        score_batch(services, scorer, "b1", received, flow_run_id=None, reason=reason)
    for number, reason in ((2, "a doubt"), (3, "another")):
        results = read_json(services.workspace.batch("b1", number) / "results.json")
        assert (results["scoring"], results["reason"]) == (number, reason)


def test_what_was_never_scored_cannot_be_scored_again(services: Services, line: Path) -> None:
    with pytest.raises(Refused, match="batch b1 cannot be scored again: got no record of it"):
        score_once(services, line, "b1", "a doubt")


def test_a_batch_of_another_category_is_refused_even_then(services: Services, line: Path) -> None:
    score(services, line, "b1")
    received = receive(services.workspace, line)
    with pytest.raises(Refused, match="of cell: got images of ring"):
        find_scored(services, "b1", "ring", received, "0" * 64, "a doubt")


def test_no_name_of_a_batch_is_the_folder_of_a_rescore(services: Services, line: Path) -> None:
    received = receive(services.workspace, line)
    with pytest.raises(Refused, match="cannot name a batch"):
        find_scored(services, services.workspace.batch("b1", 2).name, "cell", received, "0" * 64)


@pytest.mark.parametrize("words", [("--rescore",), ("--reason", "a doubt"), ("--rescore", "--reason", " ")])
def test_rescore_and_reason_go_together(run: Run, promoted: Workspace, line: Path, words: tuple[str, ...]) -> None:
    done = run("score", "cell", line, "--batch", "b1", *words, "-w", promoted.root)
    assert done.returncode == 2
    assert "a batch is scored again for a reason" in done.stderr


def test_every_record_of_an_image_says_all_that_is_known(services: Services, line: Path) -> None:
    score(services, line, "b1")
    score(services, line, "b1", "a doubt")
    rows = pd.read_parquet(services.workspace.batch("b1", 2) / "results.parquet")
    assert set(rows["rescore_reason"]) == {"a doubt"}
    assert list(rows["reason"].isna()) == list(rows["score"].notna())
    assert rows["reason"].notna().sum() == 1
    assert (rows["calibration_images"] >= 1).all()
    assert rows["run_id"].all()
