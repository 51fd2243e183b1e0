"""From images to production, on real cells: what `patchcore retrain`, `ingest` and `dvc repro` leave behind."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from PIL import Image

from patchcore._util.files import read_json, sha256_of
from patchcore.cli.demo.data import DemoImages
from patchcore.config.pipeline import STAGES
from patchcore.config.workspace import Workspace
from patchcore.lifecycle.services import open_services
from tests.support.errors import line_of

Done = CompletedProcess[str]
Run = Callable[..., Done]
Copy = Callable[[Workspace, Path], Workspace]


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


def written_at(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*.npy")}


def test_retrain_prints_one_json_object_with_every_key_of_the_contract(first_retrain: tuple[Workspace, Done]) -> None:
    workspace, done = first_retrain
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    value = json.loads(done.stdout)
    assert (value["category"], value["dataset_version"], value["bank_version"]) == ("cell", 1, 1)
    assert value["bank_sha256"] == sha256_of(workspace.bank("cell") / "bank.json")
    assert value["metrics"]["image_auroc"] == read_json(workspace.metrics("cell"))["image_auroc"]
    assert value["metrics"]["image_auroc"] > 0.8
    assert value["metrics"]["pixel_auroc"] is None  # the cells have no masks
    assert value["metrics"]["aupro"] is None
    assert value["threshold"] == read_json(workspace.build_metrics("cell"))["threshold"]["value"]
    assert value["gate"]["passed"] is True
    assert "met: no bank in production to compare with" in value["gate"]["reasons"]
    assert (value["promoted"], value["production"]) == (True, 1)


def test_retrain_leaves_git_clean_with_reports_and_lock_file_committed(promoted: Workspace) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(promoted.root), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert git("status", "--porcelain") == ""
    kept = git("ls-files").split()
    assert {"dvc.lock", "reports/cell/metrics.json", "reports/cell/validation.json", "data/cell/train.dvc"} <= set(kept)
    assert not [path for path in kept if path.startswith((".patchcore", "work")) or path.endswith(".png")]


def test_retrain_again_runs_nothing_and_keeps_the_version(workspace: Workspace, run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in (*workspace.bank("cell").iterdir(), workspace.lock_file)}
    done = run("retrain", "cell", "--json", "-w", workspace.root)
    value = json.loads(done.stdout)
    assert (done.returncode, value["bank_version"], value["promoted"], value["new"]) == (0, 1, False, False)
    assert value["gate"]["passed"] is True
    assert {path: path.stat().st_mtime_ns for path in before} == before
    services = open_services(workspace.root)
    assert len(services.ledger.history("cell")) == 1
    assert len(services.registry.versions("cell")) == 1


def test_ingest_takes_the_good_images_and_says_why_not_the_others(
    grown: tuple[Workspace, list[Done]], cells: DemoImages
) -> None:
    workspace, done = grown
    value = json.loads(done[1].stdout)
    assert (value["dataset_version"], value["normals"]) == (2, len(cells.first) + len(cells.new))
    assert {Path(taken["source"]).name for taken in value["taken"]} == {path.name for path in cells.new}
    reasons = {Path(entry["source"]).name: entry["reason"] for entry in value["quarantined"]}
    assert reasons["truncated.png"].startswith("decodable: got a damaged image")
    assert reasons["not_an_image.png"].startswith("decodable: got a file that is not an image")
    assert reasons["wrong_size.png"] == "width: got 200, expected 300 pixels"
    assert reasons["copy_of_an_old_one.png"].startswith("exact duplicates: got the same bytes as data/cell/train/good/")
    assert len(reasons) == 4
    for entry in value["quarantined"]:
        assert read_json(workspace.root / f"{entry['path']}.reason.json")["reason"] == entry["reason"]
    assert not [path for path in workspace.drop("cell").rglob("*") if path.is_file()]


def test_the_second_bank_is_compared_with_the_first_on_the_same_evaluation_set(
    grown: tuple[Workspace, list[Done]],
) -> None:
    workspace, done = grown
    value = json.loads(done[2].stdout)
    assert (value["dataset_version"], value["bank_version"], value["promoted"], value["production"]) == (2, 2, True, 2)
    assert any("of version 1 in production" in reason for reason in value["gate"]["reasons"])
    first, second = open_services(workspace.root).registry.versions("cell")
    assert first.evaluation_sha256 == second.evaluation_sha256
    assert first.bank_sha256 != second.bank_sha256


def test_new_images_are_the_only_ones_that_features_are_extracted_of(
    promoted: Workspace, grown: tuple[Workspace, list[Done]], cells: DemoImages
) -> None:
    own = read_json(promoted.features_index("cell"))["fingerprint"][:16]  # the other runtime's are for its comparison
    before, after = (
        {path: at for path, at in written_at(place.feature_store).items() if own in path}
        for place in (promoted, grown[0])
    )
    assert len(before) == len(cells.first) + sum(len(images) for images in cells.evaluation.values())
    assert {Path(path).stem for path in after.keys() - before.keys()} == {sha256_of(path) for path in cells.new}
    assert {path: after[path] for path in before} == before


def test_dvc_repro_alone_makes_the_same_bytes_and_then_nothing(
    bare: Workspace, promoted: Workspace, copy: Copy, tmp_path: Path
) -> None:
    workspace = copy(bare, tmp_path / "workspace")
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))

    def repro() -> str:
        command = [sys.executable, "-m", "dvc", "repro"]
        environment = os.environ | {"PATH": programs, "DVC_NO_ANALYTICS": "1"}
        done = subprocess.run(command, cwd=workspace.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Running stage 'evaluate@cell'" in repro()
    assert content(workspace.bank("cell")) == content(promoted.bank("cell"))
    assert content(workspace.reports("cell")) == content(promoted.reports("cell"))
    assert workspace.lock_file.read_bytes() == promoted.lock_file.read_bytes()
    second = repro()
    assert [line for line in second.splitlines() if "Running stage" in line] == ["Running stage 'fingerprint':"]
    assert all(f"Stage '{stage}@cell' didn't change, skipping" in second for stage in STAGES)


def test_a_retrain_grows_the_bank_by_the_images_that_came(
    promoted: Workspace, grown: tuple[Workspace, list[Done]], cells: DemoImages
) -> None:
    before, after = (read_json(place.build_metrics("cell"))["coreset"] for place in (promoted, grown[0]))
    groups = read_json(grown[0].arrivals("cell"))["groups"]
    assert [sorted(group) for group in groups] == [
        sorted(sha256_of(path) for path in images) for images in (cells.first, cells.new)
    ]
    assert (after["arrivals"], after["radius"]) == (2, before["radius"])
    assert after["rows"] == before["rows"] + after["rows_added"]
    metrics = open_services(grown[0].root).registry.version("cell", 2).metrics
    named = ("covering_radius", "arrivals", "rows_added", "rows_merged")
    assert [metrics[name] for name in named] == [after["radius"], 2, after["rows_added"], 0]


def test_dvc_repro_alone_grows_a_bank_to_the_same_bytes(
    grown: tuple[Workspace, list[Done]], copy: Copy, tmp_path: Path
) -> None:
    workspace = copy(grown[0], tmp_path / "workspace")
    before = content(workspace.bank("cell")), content(workspace.reports("cell"))
    for folder in (workspace.bank("cell"), workspace.covers("cell"), workspace.feature_store):
        shutil.rmtree(folder)
    command = [sys.executable, "-m", "dvc", "repro", "--force", "build@cell"]
    programs = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    environment = os.environ | {"PATH": programs, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(command, cwd=workspace.root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (content(workspace.bank("cell")), content(workspace.reports("cell"))) == before


def test_retrain_can_build_from_nothing(
    grown: tuple[Workspace, list[Done]], copy: Copy, run: Run, tmp_path: Path
) -> None:
    workspace = copy(grown[0], tmp_path / "workspace")
    done = run("retrain", "cell", "--rebuild", "--json", "-w", workspace.root)
    assert (json.loads(done.stdout)["bank_version"], json.loads(done.stdout)["new"]) == (3, True)
    coreset = read_json(workspace.build_metrics("cell"))["coreset"]
    assert (coreset["arrivals"], coreset["rows_added"]) == (1, 0)
    services = open_services(workspace.root)
    committed = services.versioning.committed_text(workspace.arrivals("cell"))
    assert committed == workspace.arrivals("cell").read_text()


def test_the_commit_of_a_bank_holds_the_parameters_that_built_it(workspace: Workspace) -> None:
    from patchcore.lifecycle.git_commits import commit_reports

    workspace.params.write_text(workspace.params.read_text().replace("seed: 0", "seed: 7"))
    services = open_services(workspace.root)
    commit = commit_reports(services, "cell")
    assert commit is not None
    assert "seed: 7" in (services.versioning.committed_text(workspace.params) or "")


def test_a_bank_that_fails_the_gate_is_registered_and_refused(workspace: Workspace, run: Run) -> None:
    text = workspace.params.read_text()
    stricter = {
        "seed: 0": "seed: 1",
        "auroc_at_least: 0.5": "auroc_at_least: 0.999",
        "defects_at_least: 6": "defects_at_least: 7",
    }
    for old, new in stricter.items():
        assert old in text
        text = text.replace(old, new)
    workspace.params.write_text(text)
    done = run("retrain", "cell", "--json", "-w", workspace.root)
    value = json.loads(done.stdout)
    assert done.returncode == 3
    assert (value["bank_version"], value["promoted"], value["production"]) == (2, False, 1)
    reasons = value["gate"]["reasons"]
    assert value["gate"]["passed"] is False
    assert sum(reason.startswith("failed: image_auroc ") for reason in reasons) == 1
    assert "failed: defective evaluation images 6 < 7" in reasons
    assert "met: normal evaluation images 6 >= 6" in reasons
    assert done.stderr.count("error: ") == 1
    assert "bank version 2 of cell did not pass the gate" in line_of(value["error"])
    services = open_services(workspace.root)
    (decision,) = services.ledger.decisions_for("cell", 2)
    assert (decision.action, decision.verdict["reasons"]) == ("refuse", reasons)
    assert services.registry.alias("cell") == 1
    production = services.ledger.production("cell")
    assert production is not None
    assert production.version == 1


def test_images_that_fail_validation_stop_the_flow_before_anything_is_built(
    bare: Workspace, copy: Copy, run: Run, tmp_path: Path
) -> None:
    workspace = copy(bare, tmp_path / "workspace")
    normals = sorted(workspace.good_normals("cell").iterdir())
    with Image.open(normals[0]) as image:
        small = image.resize((200, 200))
    normals[0].unlink()  # DVC may have linked it to its cache
    small.save(normals[0])
    done = run("retrain", "cell", "--json", "-w", workspace.root)
    offending = workspace.relative(normals[0])
    assert done.returncode == 3
    assert offending in line_of(json.loads(done.stdout)["error"])
    report = read_json(workspace.validation("cell"))
    assert report["passed"] is False
    assert {path for check in report["checks"] for path in check["offending"]} == {offending}
    assert not workspace.features_index("cell").exists()
    assert not workspace.bank("cell").exists()
    assert open_services(workspace.root).registry.versions("cell") == []
    assert offending in latest_artifact("offending-images-cell")
    assert offending in latest_artifact("validation-cell")


def latest_artifact(key: str) -> str:
    from prefect.client.orchestration import get_client

    question = {"artifacts": {"key": {"any_": [key]}}, "sort": "UPDATED_DESC", "limit": 1}
    with get_client(sync_client=True) as client:
        (artifact,) = client.request("POST", "/artifacts/filter", json=question).json()
    return str(artifact["data"])


def test_a_scheduled_retrain_does_nothing_when_nothing_waits_and_says_why(promoted: Workspace) -> None:
    from flows.retrain import retrain
    from patchcore.lifecycle.production.results import RetrainSkipped

    before = promoted.lock_file.stat().st_mtime_ns, open_services(promoted.root).versioning.head()
    events = open_services(promoted.root).ledger.events("cell")
    why = "no file waits, fewer than 1"
    expected = RetrainSkipped(category="cell", promoted=False, new=False, reason=why)
    assert retrain(str(promoted.root), "cell", drop=True) == expected
    assert (promoted.lock_file.stat().st_mtime_ns, open_services(promoted.root).versioning.head()) == before
    assert why in latest_artifact("schedule-cell")
    assert open_services(promoted.root).ledger.events("cell") == events  # nothing happened, nothing is recorded


def test_ingest_records_a_data_set_version_with_its_own_pointers(
    bare: Workspace, copy: Copy, run: Run, cells: DemoImages, tmp_path: Path
) -> None:
    workspace = copy(bare, tmp_path / "workspace")
    # As a run leaves them that dies between taking images and tracking them; and a label that a person changed.
    for image in cells.new[:2]:
        (workspace.good_normals("cell") / image.name).write_bytes(image.read_bytes())
    (tested := next((workspace.evaluation("cell") / "good").iterdir())).rename(tested.with_name("renamed.png"))
    done = run("ingest", "cell", "--json", "-w", workspace.root)
    value = json.loads(done.stdout)
    assert (value["taken"], value["waiting"], value["dataset_version"]) == ([], 0, 2)
    services = open_services(workspace.root)
    first, second = (services.ledger.dataset("cell", number) for number in (1, 2))
    assert first is not None
    assert second is not None
    count = len(cells.first) + 2
    assert f"nfiles: {count}\n" in second.pointers["data/cell/train.dvc"]
    assert all(second.pointers[path] != first.pointers[path] for path in ("data/cell/train.dvc", "data/cell/test.dvc"))
    assert second.git_commit == services.versioning.head()
    for path, text in second.pointers.items():
        assert services.versioning.committed_text(workspace.root / path) == text
    command = ["git", "-C", str(workspace.root), "log", "-1", "--format=%s"]
    subject = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert subject == "Ingest cell: 2 new normal images (data-set version 2)"

    again = json.loads(run("ingest", "cell", "--json", "-w", workspace.root).stdout)
    assert again["dataset_version"] == 2
    assert services.versioning.head() == second.git_commit  # nothing changed: no commit


def test_ingest_makes_up_for_a_push_that_failed(bare: Workspace, copy: Copy, run: Run, tmp_path: Path) -> None:
    workspace = copy(bare, tmp_path / "workspace")
    remote = tmp_path / "remote"
    # The remote answers now; when the images came it did not.
    settings = f"[core]\n    remote = plant\n['remote \"plant\"']\n    url = {remote}\n"
    (workspace.root / ".dvc" / "config.local").write_text(settings)
    done = run("ingest", "cell", "--json", "-w", workspace.root)
    assert done.returncode == 0, done.stderr
    pushed = {sha256_of(path) for path in remote.rglob("*") if path.is_file()}
    assert set(content(workspace.good_normals("cell")).values()) <= pushed
