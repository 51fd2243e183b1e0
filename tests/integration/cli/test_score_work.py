"""Commands about a batch open the services once, read the bank once, and digest each file at most twice."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from patchcore._util.files import sha256_of
from patchcore.bank.format import ARRAYS, CONFIG, IMAGES
from patchcore.cli.demo.data import DemoImages, fill_batch
from patchcore.config.workspace import Workspace
from tests.support.counting import Work, counted

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def line(cells: DemoImages, tmp_path: Path) -> Path:
    """A folder with 8 images, no two of which have the same bytes."""
    fill_batch(cells.batches[0], tmp_path / "line")
    return tmp_path / "line"


def of_files(work: Work, files: list[Path]) -> Counter[int]:
    """Return how many files were digested how often."""
    return Counter(work.digests[sha256_of(file)] for file in files)


def bank_files(workspace: Workspace) -> list[Path]:
    """Return the files of the only bank in the cache."""
    (folder,) = (workspace.bank_cache / "cell").iterdir()
    return [folder / name for name in (CONFIG, ARRAYS, IMAGES)]


def test_a_command_about_8_images_opens_everything_once_and_digests_each_file_at_most_twice(
    run: Run, workspace: Workspace, line: Path
) -> None:
    images, bank = sorted(line.iterdir()), bank_files(workspace)
    words = ("cell", line, "--batch", "b1", "--json", "-w", workspace.root)
    once = {"params": 1, "ledger": 1, "registry": 1, "MLflow": 1}

    with counted() as work:
        done = run("score", *words)
    assert (done.returncode, json.loads(done.stdout)["scored"]) == (0, 8), done.stderr
    assert (work.opened, work.processes) == (once, [])
    assert of_files(work, images) == {2: 8}  # to know the batch, and when it is scored
    assert of_files(work, bank) == {1: 3}

    with counted() as work:
        done = run("score", *words)
    assert json.loads(done.stdout)["recorded_before"] is True
    assert (work.opened, of_files(work, images), of_files(work, bank)) == (once, {1: 8}, {0: 3})

    with counted() as work:
        done = run("audit", "replay", "b1", "--folder", line, "--json", "-w", workspace.root)
    assert json.loads(done.stdout)["equal"] == 8
    assert (work.opened, of_files(work, images), of_files(work, bank)) == (once, {2: 8}, {1: 3})

    with counted() as work:
        done = run("audit", "explain", "b1", images[0].name, "--json", "-w", workspace.root)
    normal = Path(json.loads(done.stdout)["nearest"]["file"])
    assert work.digests[sha256_of(images[0])] == 2
    assert (work.digests[sha256_of(normal)], of_files(work, bank)) == (1, {1: 3})


def test_a_bank_that_comes_from_the_registry_is_read_once_too(run: Run, workspace: Workspace, line: Path) -> None:
    bank = bank_files(workspace)
    digests = [sha256_of(file) for file in bank]
    shutil.rmtree(workspace.bank_cache)
    with counted() as work:
        done = run("score", "cell", line, "--batch", "b1", "--json", "-w", workspace.root)
    assert done.returncode == 0, done.stderr
    assert [work.digests[digest] for digest in digests] == [1, 1, 1]
