"""A recorded batch has the same numbers again, bit for bit, or replay says where not."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from patchcore.adapters.ledger.records import ImageScore
from patchcore.cli.demo.data import DemoImages, fill_batch
from patchcore.config.workspace import Workspace
from patchcore.lifecycle.batch_inputs import find, receive
from patchcore.lifecycle.scoring.batches import open_scorer, score_batch
from patchcore.lifecycle.scoring.checks import require_production
from patchcore.lifecycle.scoring.replay import replay
from patchcore.lifecycle.services import Services, open_services
from tests.support.errors import line_of
from tests.support.scoring import score

Done = CompletedProcess[str]
Run = Callable[..., Done]
Copy = Callable[[Workspace, Path], Workspace]


@pytest.fixture
def line(cells: DemoImages, tmp_path: Path) -> Path:
    """Eight images, of which the third and the sixth are broken, so the groups of the recorded scoring had gaps."""
    fill_batch(cells.batches[0], tmp_path / "line")
    for file in sorted((tmp_path / "line").iterdir())[2::3]:
        file.write_bytes(file.read_bytes()[:500])
    return tmp_path / "line"


@pytest.fixture
def services(workspace: Workspace, line: Path) -> Services:
    """A workspace where bank version 1 scored batch `b1`."""
    services = open_services(workspace.root)
    score(services, line, "b1")
    return services


def in_another_process(*words: object) -> tuple[int, dict[str, Any]]:
    command = [str(Path(sys.executable).with_name("patchcore")), *map(str, words), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    value: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, value


def test_every_number_comes_again_in_another_process_while_another_bank_is_in_production(
    grown: tuple[Workspace, list[Done]], copy: Copy, line: Path, tmp_path: Path
) -> None:
    services = open_services(copy(grown[0], tmp_path / "workspace").root)
    bank, place = services.ledger.bank("cell", 1), services.workspace
    assert bank is not None
    assert require_production(services, "cell").version == 2
    scorer = open_scorer(services, "cell", 1, bank.sha256)
    score_batch(services, scorer, "b1", receive(place, line), flow_run_id=None)
    shutil.rmtree(place.bank_cache)  # the bank is downloaded from the registry
    before = {file: file.stat().st_mtime_ns for file in place.batch("b1").parent.rglob("*")}
    code, value = in_another_process("audit", "replay", "b1", "-w", place.root)
    assert (code, value["ok"], value["equal"]) == (0, True, 8)
    assert (value["bank_version"], value["different"], value["missing"]) == (1, [], [])
    assert value["then"]["runtime"] == value["now"]["runtime"]
    assert value["then"]["at"] < value["now"]["at"]
    assert {file: file.stat().st_mtime_ns for file in place.batch("b1").parent.rglob("*")} == before
    (event,) = services.ledger.events("cell", "replay")
    assert (event.summary["batch"], event.summary["ok"], event.summary["now"]) == ("b1", True, value["now"])


def test_each_scoring_is_replayed_by_its_own_bank(services: Services, line: Path) -> None:
    sorted(line.iterdir())[0].unlink()
    score(services, line, "b1", "one too many")
    assert replay(services, "b1").scoring == 2
    assert replay(services, "b1").ok is True
    first = replay(services, "b1", 1)
    assert (first.scoring, first.ok, first.equal) == (1, False, 7)


def test_images_that_are_gone_or_changed_are_named_and_not_scored(services: Services, line: Path, run: Run) -> None:
    gone, changed, *_ = files = sorted(line.iterdir())
    gone.unlink()
    shutil.copyfile(files[3], changed)
    done = run("audit", "replay", "b1", "--json", "-w", services.workspace.root)
    value = json.loads(done.stdout)
    assert (done.returncode, value["ok"], value["equal"], value["different"]) == (3, False, 6, [])
    reasons = {Path(entry["path"]).name: entry["reason"] for entry in value["missing"]}
    assert reasons.keys() == {gone.name, changed.name}
    assert reasons[gone.name] == "no such file"
    assert "other bytes" in reasons[changed.name]
    assert "2 not found" in line_of(value["error"])
    assert line_of(value["error"]).endswith(
        "; name the folder where the images are now with --folder FOLDER"
    )  # nothing else is known


def test_images_that_were_moved_are_found_by_their_content(services: Services, line: Path, tmp_path: Path) -> None:
    for number, file in enumerate(sorted(line.iterdir())):
        (tmp_path / "archive" / str(number)).mkdir(parents=True)
        shutil.move(file, tmp_path / "archive" / str(number) / "renamed.png")
    assert replay(services, "b1").equal == 0
    found = replay(services, "b1", folder=tmp_path / "archive")
    assert (found.ok, found.equal) == (True, 8)


def test_a_score_that_is_not_the_one_recorded_is_shown_with_the_difference(
    services: Services, line: Path, run: Run
) -> None:
    found = services.ledger.batch("b1")
    assert found is not None
    image = found.images[0]
    assert image.score is not None
    forged = [ImageScore(**{**vars(each), "score": each.score and each.score + 0.25}) for each in found.images[:1]]
    record = type(found.record)(**{**vars(found.record), "batch": "b2"})
    services.ledger.record_batch(record, [*forged, *found.images[1:]])
    done = run("audit", "replay", "b2", "--json", "-w", services.workspace.root)
    value = json.loads(done.stdout)
    (entry,) = value["different"]
    assert (done.returncode, value["equal"]) == (3, 7)
    assert (entry["path"], entry["now"]["score"]) == (image.path, image.score)
    assert entry["difference"] == image.score - (image.score + 0.25)
    shown = run("audit", "replay", "b2", "-w", services.workspace.root)
    assert "another result" in shown.stdout
    assert services.ledger.events("cell", "replay")[-1].summary["different"] == [image.path]


def test_an_image_of_which_no_byte_could_be_read_is_the_same_while_that_lasts(services: Services, line: Path) -> None:
    (line / "link.png").symlink_to(line / "nowhere.png")
    score(services, line, "b2")
    assert replay(services, "b2").ok is True
    (line / "link.png").unlink()
    shutil.copyfile(sorted(line.iterdir())[0], line / "link.png")
    (entry,) = replay(services, "b2").missing
    assert Path(entry.path).name == "link.png"
    assert "other bytes" in (entry.reason or "")


def test_a_batch_or_a_scoring_that_is_not_there(services: Services, run: Run) -> None:
    for words, named in ((("b9",), "no batch 'b9'"), (("b1", "--scoring", 2), "no scoring 2 of batch 'b1'")):
        done = run("audit", "replay", *words, "-w", services.workspace.root)
        assert done.returncode == 3
        assert f"{named} in the ledger" in done.stderr


def test_an_image_is_found_where_it_was_before_elsewhere(services: Services, line: Path) -> None:
    recorded = services.ledger.batch("b1")
    assert recorded is not None
    here = find(services.workspace, recorded.images, line)
    assert [str(found.file) for found in here] == [image.path for image in recorded.images]


def test_a_person_sees_what_was_and_what_is(services: Services, run: Run) -> None:
    shown = run("audit", "replay", "b1", "-w", services.workspace.root)
    assert shown.returncode == 0
    assert "8 received, 8 with the same result, bit for bit" in shown.stdout
