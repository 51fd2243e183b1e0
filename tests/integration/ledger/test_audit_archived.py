"""What the questions about the past say once images lie in an archive, on SQLite and on PostgreSQL."""

import json
import shutil
from collections.abc import Callable
from subprocess import CompletedProcess
from typing import Any

import pytest

from patchcore.adapters.ledger import Ledger
from patchcore.adapters.ledger.times import now
from patchcore.config.workspace import Workspace
from tests.support.errors import line_of
from tests.support.ledgers import digest, fill

Run = Callable[..., CompletedProcess[str]]
Ask = Callable[..., tuple[CompletedProcess[str], dict[str, Any]]]


@pytest.fixture
def place(
    run: Run, empty_workspace: Workspace, ledger: Ledger, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """A workspace whose ledger `fill` filled; the images of all its batches lie in an archive."""
    monkeypatch.setenv("PATCHCORE_LEDGER_URL", ledger_url)
    fill(ledger)
    done = run("audit", "archive", "--before", now(), "-w", empty_workspace.root)
    assert done.returncode == 0, done.stderr
    return empty_workspace


@pytest.fixture
def ask(run: Run, place: Workspace) -> Ask:
    """Ask twice: as a person, and for JSON."""

    def answer(*words: object) -> tuple[CompletedProcess[str], dict[str, Any]]:
        shown = run(*words, "-w", place.root)
        value: dict[str, Any] = json.loads(run(*words, "--json", "-w", place.root).stdout)
        return shown, value

    return answer


def test_image_names_the_archives_that_are_not_here(ask: Ask, place: Workspace) -> None:
    shown, value = ask("audit", "image", digest("late.png"))
    assert ([record["batch"] for record in value["records"]], value["archives_missing"]) == (["tuesday"], [])
    assert "not here" not in shown.stdout
    (archive,) = place.archives.iterdir()
    shutil.rmtree(archive)
    shown, value = ask("audit", "image", digest("late.png"))
    assert (value["records"], value["archives_missing"]) == ([], [archive.name])
    assert f"archives that are not here and may hold more scorings: {archive.name}" in shown.stdout


def test_a_recall_counts_what_an_archive_at_hand_holds(ask: Ask, place: Workspace) -> None:
    shown, value = ask("audit", "bank", "bottle", 1)
    (batch,) = value["batches"]
    assert (batch["scored"], batch["anomalous"], batch["passed"]) == (2, 1, 1)
    assert "not counted" not in shown.stdout
    _, value = ask("audit", "normal", digest("three.png"))
    (bank,) = value["banks"]
    assert [(batch["anomalous"], batch["passed"]) for batch in bank["batches"]] == [(0, 2), (0, 1)]
    (file,) = place.archives.rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-1])
    _, value = ask("audit", "bank", "bottle", 1)
    assert "is not the file that was written" in line_of(value["error"])  # no answer from a forged file


def test_a_recall_says_how_many_batches_lie_in_archives_and_an_override_that_its_images_do(
    ask: Ask, place: Workspace
) -> None:
    done, value = ask("override", "tuesday", "late.png", "--anomalous", "--reason", "a crack")
    assert done.returncode == 3
    assert "got its images are in an archive" in line_of(value["error"])
    shutil.rmtree(place.archives)
    for question, words in (
        (("bank", "bottle", 2), "not counted, because their images are in an archive: 2 of 2 batches"),
        (("normal", digest("three.png")), "not counted, because their images are in an archive: 2 of 2 batches"),
        (("compare", "bottle", 1, 2), "not compared, because their images are in an archive: 1 of 1 batch"),
    ):
        assert words in ask("audit", *question)[0].stdout
