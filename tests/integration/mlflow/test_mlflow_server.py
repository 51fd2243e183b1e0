"""The services of a plant, real ones: the registry on an `mlflow server`, commands on that and a `prefect server`."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from patchcore._util.files import sha256_of
from patchcore.adapters.mlflow.registry import BankBuild, open_registry
from patchcore.cli.demo.data import DemoImages, fill_batch
from patchcore.config.workspace import Workspace
from patchcore.lifecycle.services import open_services
from tests.support.servers import PROGRAMS, ask, call

Answer = dict[str, Any]


def build_of(bank: Path) -> BankBuild:
    return BankBuild(
        bank=bank,
        bank_sha256=sha256_of(bank / "bank.json"),
        run_name="bottle, data-set version 1",
        params={"build": {"seed": 0}},
        metrics={"image_auroc": 0.5, "pixel_auroc": None},
        dataset_version=1,
        dataset_sha256="d" * 64,
        evaluation_sha256="e" * 64,
        pointers={},
        git_commit=None,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_registry_registers_finds_names_and_fetches_banks_on_a_server(
    built_category: Workspace,
    promoted: Workspace,
    mlflow_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    registry = open_registry(Workspace(tmp_path))
    registry.check()
    first, second = build_of(built_category.bank("part")), build_of(promoted.bank("cell"))
    version = registry.register("bottle", first)
    assert registry.register("bottle", first) == version == registry.find("bottle", first.bank_sha256)
    assert registry.register("bottle", second).version == 2
    assert [known.bank_sha256 for known in registry.versions("bottle")] == [first.bank_sha256, second.bank_sha256]
    assert registry.alias("bottle") is None
    for number in (2, 1):
        registry.set_alias("bottle", number)
        assert registry.alias("bottle") == number
    for number, build in ((1, first), (2, second)):
        assert contents(registry.download_bank("bottle", number, tmp_path / str(number))) == contents(build.bank)
    assert capfd.readouterr().out == ""
    assert not Workspace(tmp_path).registry.exists()


@pytest.fixture(scope="module")
def command(mlflow_server: str, prefect_server: str) -> Callable[..., Answer]:
    """Run a command as a process of a plant: with its registry and its Prefect."""
    plant = {"MLFLOW_TRACKING_URI": mlflow_server, "PREFECT_API_URL": prefect_server}

    def run(workspace: Workspace, *words: str) -> Answer:
        line = [str(PROGRAMS / "patchcore"), *words, "--json", "-w", str(workspace.root)]
        done = subprocess.run(line, env=os.environ | plant, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        value: Answer = json.loads(done.stdout)
        return value

    return run


@pytest.fixture(scope="module")
def retrained(
    bare: Workspace,
    promoted: Workspace,
    copy: Callable[[Workspace, Path], Workspace],
    command: Callable[..., Answer],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Workspace, Answer]:
    """A workspace after its first `patchcore retrain`, on servers, and what that said."""
    workspace = copy(bare, tmp_path_factory.mktemp("plant") / "workspace")
    # What the stages make from this is in DVC's cache already: it need not be made again.
    shutil.copy(promoted.lock_file, workspace.lock_file)
    shutil.copytree(promoted.root / ".dvc/cache", workspace.root / ".dvc/cache", dirs_exist_ok=True)
    return workspace, command(workspace, "retrain", "cell")


def test_retrain_registers_and_promotes_on_a_server(
    retrained: tuple[Workspace, Answer], mlflow_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, answer = retrained
    assert (answer["bank_version"], answer["promoted"], answer["production"]) == (1, True, 1)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server)
    services = open_services(workspace.root)
    (version,) = services.registry.versions("cell")
    assert (version.version, version.bank_sha256, version.run_id) == (1, answer["bank_sha256"], answer["run_id"])
    assert services.registry.alias("cell") == 1
    production = services.ledger.production("cell")
    assert production is not None
    assert (production.version, production.bank_sha256) == (1, version.bank_sha256)
    assert not workspace.registry.exists()


def test_a_retrain_on_a_prefect_server_shows_its_run_its_tasks_and_its_artifacts(
    retrained: tuple[Workspace, Answer], prefect_server: str, mlflow_server: str
) -> None:
    _, answer = retrained
    run = call(f"{mlflow_server}/api/2.0/mlflow/runs/get?run_id={answer['run_id']}")["run"]
    assert run["info"]["status"] == "FINISHED"
    (flow_run_id,) = [tag["value"] for tag in run["data"]["tags"] if tag["key"] == "prefect_flow_run_id"]
    one = {"flow_runs": {"id": {"any_": [flow_run_id]}}}
    (flow_run,) = ask(f"{prefect_server}/flow_runs/filter", one)
    assert (flow_run["name"], flow_run["state_type"]) == ("retrain-cell", "COMPLETED")
    tasks = {task["name"]: task["state_type"] for task in ask(f"{prefect_server}/task_runs/filter", one)}
    stages = {f"{stage}@cell" for stage in ("validate", "extract", "build", "evaluate")}
    others = {"check registry and ledger", "commit the reports of cell", "register the bank of cell"}
    decided = {"gate and promote cell version 1"}
    assert stages | others | decided <= tasks.keys()
    assert set(tasks.values()) == {"COMPLETED"}
    artifacts = {each["key"]: each["data"] for each in ask(f"{prefect_server}/artifacts/filter", one)}
    assert "The images of cell are valid" in artifacts["validation-cell"]
    assert any("Bank version 1 of cell passed the gate" in str(data) for data in artifacts.values())


def test_score_fetches_the_bank_in_production_from_the_server(
    retrained: tuple[Workspace, Answer],
    command: Callable[..., Answer],
    cells: DemoImages,
    prefect_server: str,
    tmp_path: Path,
) -> None:
    workspace, answer = retrained
    shutil.rmtree(workspace.bank("cell"))
    shutil.rmtree(workspace.bank_cache, ignore_errors=True)
    fill_batch(cells.batches[0], tmp_path / "line")
    scored = command(workspace, "score", "cell", str(tmp_path / "line"), "--batch", "4711")
    assert (scored["bank_version"], scored["bank_sha256"]) == (1, answer["bank_sha256"])
    assert (len(scored["images"]), scored["failed"]) == (len(cells.batches[0]), [])
    fetched = [path for path in workspace.bank_cache.rglob("bank.json") if sha256_of(path) == answer["bank_sha256"]]
    assert len(fetched) == 1
    named = {"flow_runs": {"name": {"any_": ["score-4711"]}}}
    (flow_run,) = ask(f"{prefect_server}/flow_runs/filter", named)
    assert flow_run["state_type"] == "COMPLETED"
