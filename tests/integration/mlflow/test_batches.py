"""Scoring batches on a real bank: received = scored + failed, nothing twice, nothing that the ledger does not hold."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from patchcore._util.files import read_json, sha256_of
from patchcore.bank.memory_bank import MemoryBank
from patchcore.cli.demo.data import DemoImages, fill_batch
from patchcore.config.workspace import Workspace
from patchcore.errors import Fault, Refused
from patchcore.images.decoding import load_rgb
from patchcore.lifecycle.batch_inputs import receive
from patchcore.lifecycle.batch_results import batch_results
from patchcore.lifecycle.scoring.batches import find_scored, score_batch
from patchcore.lifecycle.scoring.checks import require_production
from patchcore.lifecycle.services import Services, open_services
from tests.support.errors import line_of
from tests.support.scoring import score, scorer_in_production

Done = CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def line(cells: DemoImages, tmp_path: Path) -> Path:
    """Where the line's camera puts pictures: a batch of real cells."""
    fill_batch(cells.batches[0], tmp_path / "line")
    return tmp_path / "line"


@pytest.fixture
def services(workspace: Workspace) -> Services:
    return open_services(workspace.root)


def test_score_prints_every_key_of_the_contract(grown: tuple[Workspace, list[Done]], cells: DemoImages) -> None:
    workspace, done = grown
    value = json.loads(done[0].stdout)
    bank = open_services(workspace.root).ledger.bank("cell", 1)
    assert bank is not None
    assert done[0].stdout.count("\n") == 1
    assert (value["batch"], value["category"], value["bank_version"]) == ("first", "cell", 1)
    assert (value["bank_sha256"], value["dataset_version"]) == (bank.sha256, 1)
    assert (value["received"], value["scored"], value["failed"]) == (8, 8, [])
    assert value["recorded_before"] is False
    assert {image["sha256"] for image in value["images"]} == {sha256_of(path) for path in cells.batches[0]}
    for image in value["images"]:
        assert image.keys() == {"path", "sha256", "score", "p_value", "anomalous"}
        assert image["anomalous"] == (image["score"] > value["threshold"])
        assert 0 < image["p_value"] <= 1
    assert any(image["anomalous"] for image in value["images"])
    assert not all(image["anomalous"] for image in value["images"])


def test_the_scores_are_those_of_the_bank_that_the_stages_wrote(
    grown: tuple[Workspace, list[Done]], promoted: Workspace
) -> None:
    bank = MemoryBank.load(promoted.bank("cell"))
    images = json.loads(grown[1][0].stdout)["images"]
    pixels = [load_rgb(Path(image["path"]), bank.config.extractor.image_size) for image in images]
    np.testing.assert_array_equal(bank.score(pixels).image, np.array([image["score"] for image in images], np.float32))


def test_defective_cells_score_higher_than_good_ones(grown: tuple[Workspace, list[Done]], cells: DemoImages) -> None:
    scores = {Path(image["path"]).name: image["score"] for image in json.loads(grown[1][0].stdout)["images"]}
    good, defective = cells.batches[0][:4], cells.batches[0][4:]
    assert np.mean([scores[path.name] for path in good]) < np.mean([scores[path.name] for path in defective])


def test_a_batch_leaves_heatmaps_a_contact_sheet_and_its_results(
    grown: tuple[Workspace, list[Done]], cells: DemoImages
) -> None:
    import pandas as pd

    folder = grown[0].batch("first")
    heatmaps = sorted((folder / "heatmaps").iterdir())
    assert len(heatmaps) == len(cells.batches[0])
    for picture in (*heatmaps, folder / "contact_sheet.png"):
        with Image.open(picture) as image:
            image.load()
            assert min(image.size) >= 96
    printed = json.loads(grown[1][0].stdout)
    results = read_json(folder / "results.json")
    assert results == {
        key: value for key, value in printed.items() if key not in {"recorded_before", "reconciled", "anchored"}
    }
    table = pd.read_parquet(folder / "results.parquet")
    assert list(table["score"]) == [image["score"] for image in printed["images"]]
    assert set(table["bank_version"]) == {1}
    assert set(table.columns) >= EVERY_FIELD
    assert table["threshold"].tolist() == [printed["threshold"]] * len(heatmaps)
    assert EVERY_FIELD - {"path", "sha256", "score", "p_value", "anomalous", "rescore_reason"} <= results.keys()


EVERY_FIELD = {
    *("batch", "scoring", "category", "path", "sha256", "score", "p_value", "anomalous", "reason", "rescore_reason"),
    *("threshold", "false_alarm_rate", "calibration_images", "bank_version", "bank_sha256", "dataset_version"),
    *("dataset_sha256", "runtime", "code_version", "scored_at", "who", "run_id", "flow_run_id"),
}


def test_an_image_that_cannot_be_read_is_recorded_as_failed(services: Services, run: Run, line: Path) -> None:
    whole = sorted(line.iterdir())[0]
    whole.write_bytes(whole.read_bytes()[:500])
    (line / "note.png").write_text("The camera was offline.")
    done = run("score", "cell", line, "--batch", "b1", "--json", "-w", services.workspace.root)
    value = json.loads(done.stdout)
    assert done.returncode == 0
    warning = "2 of 9 images could not be scored and are recorded as failed: see patchcore audit batch b1"
    assert f"warning: {warning}\n" in done.stderr
    assert (value["received"], value["scored"], len(value["failed"])) == (9, 7, 2)
    assert len(value["images"]) == 7
    reasons = {Path(entry["path"]).name: entry["reason"] for entry in value["failed"]}
    assert "a damaged image" in reasons[whole.name]
    assert "not an image" in reasons["note.png"]
    recorded = services.ledger.batch("b1")
    assert recorded is not None
    assert (recorded.record.received, recorded.record.scored, recorded.record.failed) == (9, 7, 2)
    assert sum(image.reason is not None for image in recorded.images) == 2


def test_many_images_have_the_scores_that_each_has_alone(services: Services, cells: DemoImages, tmp_path: Path) -> None:
    line = tmp_path / "line"
    fill_batch([*cells.first, *cells.new], line)
    images = sorted(line.iterdir())
    for number in range(3, len(images), 8):  # every part of the batch has lost one
        images[number].write_bytes(images[number].read_bytes()[:300])
    value = score(services, line, "b1")
    assert (value.received, value.scored) == (len(images), len(images) - len(images[3::8]))
    assert [image.path for image in value.images] == [str(path) for path in images if path not in images[3::8]]
    bank = MemoryBank.load(services.workspace.bank("cell"), cache=services.workspace.runtime_cache)
    alone = [bank.score([load_rgb(Path(image.path), 96)]).image[0] for image in value.images]
    assert [np.float32(image.score) for image in value.images] == alone
    assert len(list((services.workspace.batch("b1") / "heatmaps").iterdir())) == value.scored


def test_the_runtime_that_scored_is_recorded_with_the_batch(services: Services, line: Path) -> None:
    extractor = MemoryBank.load(services.workspace.bank("cell")).config.extractor
    value = score(services, line, "b1")
    assert value.runtime == f"{extractor.runtime} {extractor.runtime_version} {extractor.precision}"


def test_a_batch_of_nothing_but_broken_files_is_a_batch_all_of_which_failed(services: Services, tmp_path: Path) -> None:
    (tmp_path / "line").mkdir()
    (tmp_path / "line" / "a.png").write_bytes(b"")
    value = score(services, tmp_path / "line", "b1")
    assert (value.received, value.scored, value.images) == (1, 0, ())
    assert not (services.workspace.batch("b1") / "contact_sheet.png").exists()


def test_the_same_batch_again_returns_the_record_and_scores_nothing(services: Services, run: Run, line: Path) -> None:
    first = score(services, line, "b1")
    heatmaps = services.workspace.batch("b1") / "heatmaps"
    before = {path: path.stat().st_mtime_ns for path in heatmaps.iterdir()}
    done = run("score", "cell", line, "--batch", "b1", "--json", "-w", services.workspace.root)
    value = json.loads(done.stdout)
    assert (done.returncode, value.pop("recorded_before")) == (0, True)
    assert value.pop("anchored")["failures"] == []
    assert value.pop("reconciled") == []
    (entry,) = value["scorings"]
    assert (entry["scoring"], entry["scored_at"]) == (1, first.scored_at)
    assert value == first.model_dump(mode="json")
    assert {path: path.stat().st_mtime_ns for path in heatmaps.iterdir()} == before
    image = next(iter(value["images"]))
    assert len(services.ledger.image(image["sha256"])) == 1


def test_other_images_under_the_name_of_a_batch_are_refused(services: Services, run: Run, line: Path) -> None:
    first = score(services, line, "b1")
    sorted(line.iterdir())[0].unlink()
    done = run("score", "cell", line, "--batch", "b1", "--json", "-w", services.workspace.root)
    assert done.returncode == 3
    assert "got other images" in line_of(json.loads(done.stdout)["error"])
    recorded = services.ledger.batch("b1")
    assert recorded is not None
    assert batch_results(recorded, services.ledger.scorings("b1")) == first


def test_a_batch_that_another_bank_scored_is_refused(grown: tuple[Workspace, list[Done]]) -> None:
    services = open_services(grown[0].root)  # bank 2 is in production, bank 1 scored this
    folder = Path(json.loads(grown[1][0].stdout)["images"][0]["path"]).parent
    received = receive(services.workspace, folder)
    production = require_production(services, "cell")
    with pytest.raises(Refused, match="with bank version 1 of cell: got another bank") as refused:
        find_scored(services, "first", "cell", received, production.bank_sha256)
    assert "--rescore" in refused.value.remedy
    with pytest.raises(Refused, match="got images of other") as refused:
        find_scored(services, "first", "other", received, production.bank_sha256, "a reason")
    assert "--rescore" not in refused.value.remedy


def test_images_of_one_name_in_two_folders_are_two_images(services: Services, line: Path) -> None:
    one = sorted(line.iterdir())[0]
    other = sorted(line.iterdir())[1]
    for name, source in (("left", one), ("right", other)):
        (line / name).mkdir()
        shutil.move(source, line / name / "cell.png")
    value = score(services, line, "b1")
    assert value.received == 8
    assert len(list((services.workspace.batch("b1") / "heatmaps").iterdir())) == 8


def test_a_score_that_the_ledger_does_not_take_leaves_nothing(services: Services, line: Path) -> None:
    scorer = scorer_in_production(services)
    received = receive(services.workspace, line)
    services.workspace.ledger.with_name("ledger.db-wal").unlink(missing_ok=True)
    services.workspace.ledger.write_bytes(b"this is no database" * 100)
    with pytest.raises(Fault, match="cannot be used"):
        score_batch(services, scorer, "b1", received, flow_run_id=None)
    assert not services.workspace.batch("b1").exists()
    assert not [path for path in services.workspace.batch("b1").parent.iterdir() if path.is_dir()]


def test_a_damaged_copy_of_a_bank_is_fetched_again(services: Services, line: Path) -> None:
    first = score(services, line, "b1")
    (cached,) = (services.workspace.bank_cache / "cell").iterdir()
    flip_last_byte(cached / "arrays.safetensors")
    again = score(services, line, "b2")
    assert again.images == first.images
    assert sha256_of(cached / "arrays.safetensors") == sha256_of(services.workspace.bank("cell") / "arrays.safetensors")


def test_a_damaged_bank_in_the_registry_is_refused(services: Services, run: Run, line: Path) -> None:
    (artifact,) = services.workspace.registry_artifacts.rglob("arrays.safetensors")
    flip_last_byte(artifact)
    shutil.rmtree(services.workspace.bank_cache)  # else the machine's own copy, which is whole, is taken
    done = run("score", "cell", line, "--batch", "b1", "--json", "-w", services.workspace.root)
    assert done.returncode == 3
    assert "bank version 1 of cell in the registry is damaged" in done.stderr
    assert done.stderr.count("error: ") == 1
    assert services.ledger.batch("b1") is None
    assert not services.workspace.batch("b1").exists()
    assert attempts("fetch version 1 of cell") == 1  # what is refused is not tried again


def attempts(task_run_name: str) -> int:
    """Return how often the latest task run of this name was tried."""
    from prefect.client.orchestration import get_client

    question = {"task_runs": {"name": {"any_": [task_run_name]}}, "sort": "EXPECTED_START_TIME_DESC", "limit": 1}
    with get_client(sync_client=True) as client:
        (task_run,) = client.request("POST", "/task_runs/filter", json=question).json()
    return int(task_run["run_count"])


def flip_last_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_an_image_that_changes_before_it_is_scored_is_recorded_as_failed(services: Services, line: Path) -> None:
    received = receive(services.workspace, line)
    changed = received[0].file
    shutil.copyfile(received[1].file, changed)
    scorer = scorer_in_production(services)
    scored = score_batch(services, scorer, "b1", received, flow_run_id=None)
    done = batch_results(scored, services.ledger.scorings("b1"))
    assert (done.received, done.scored) == (8, 7)
    assert [Path(entry.path).name for entry in done.failed] == [changed.name]
    assert f"sha256 {received[0].sha256}" in done.failed[0].reason


def test_results_that_a_full_disk_kept_back_are_drawn_by_the_same_command_again(
    services: Services, line: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("patchcore._util.files._replace_folder", full)
        with pytest.raises(Fault, match="No space left on device"):
            score(services, line, "b1")
    known = services.ledger.batch("b1")
    assert known is not None
    assert not services.workspace.batch("b1").exists()
    done = run("score", "cell", line, "--batch", "b1", "--json", "-w", services.workspace.root)
    assert json.loads(done.stdout)["recorded_before"] is True
    recorded = batch_results(known, services.ledger.scorings("b1")).model_dump(mode="json")
    assert read_json(services.workspace.batch("b1") / "results.json") == recorded
    assert len(list((services.workspace.batch("b1") / "heatmaps").iterdir())) == 8


def test_of_two_runs_of_one_batch_both_report_what_the_ledger_keeps(services: Services, line: Path) -> None:
    first = score(services, line, "b1")
    shutil.rmtree(services.workspace.batch("b1"))
    assert score(services, line, "b1") == first  # as if both had looked before either wrote
    assert read_json(services.workspace.batch("b1") / "results.json") == first.model_dump(mode="json")


def test_a_long_name_does_not_cost_a_batch(services: Services, line: Path) -> None:
    shutil.copyfile(sorted(line.iterdir())[0], line / f"{'x' * 244}.png")
    assert score(services, line, "b1").scored == 9


def test_links_to_one_image_and_names_that_are_not_text_are_images_of_their_own(services: Services, line: Path) -> None:
    original = sorted(line.iterdir())[0]
    (line / "again.png").symlink_to(original)
    (line / "twice.png").symlink_to(original)
    shutil.copyfile(original, os.fsencode(line) + b"/caf\xe9.png")
    (line / "station 2").mkdir()
    shutil.copyfile(original, line / "station 2" / original.name)
    done = score(services, line, "b1")
    names = [image.path.removeprefix(f"{line}/") for image in done.images]
    assert len(set(names)) == len(names) == 12
    assert {"again.png", "twice.png", r"caf\xe9.png", f"station 2/{original.name}"} < set(names)
