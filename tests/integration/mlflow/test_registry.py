"""The registry on a real MLflow: SQLite in process, and the model behind `mlflow models serve`."""

import base64
import dataclasses
import io
import json
import os
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from patchcore.adapters.mlflow.connection import without_password
from patchcore.adapters.mlflow.events import experiment_of_events
from patchcore.adapters.mlflow.plots import draw
from patchcore.adapters.mlflow.registry import BankBuild, BankVersion, EventRun, Registry, open_registry
from patchcore.adapters.mlflow.run import log_run
from patchcore.bank import memory_bank as banks
from patchcore.bank.memory_bank import BankArrays, MemoryBank
from patchcore.config.params import load_params
from patchcore.config.workspace import Workspace
from patchcore.errors import Fault, Refused
from patchcore.extraction.extractor import open_extractor
from patchcore.images.decoding import rgb_of_bytes
from tests.support.places import REPOSITORY
from tests.support.servers import answers, free_port, running, wait_for

if TYPE_CHECKING:
    from mlflow import MlflowClient

CLONE = REPOSITORY


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    generator = np.random.default_rng(0)
    return [png(generator.integers(0, 256, (96, 96, 3), dtype=np.uint8)) for _ in range(3)]


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory, pictures: list[bytes]) -> list[BankBuild]:
    """Three real banks of the first picture: all its patches, and two with fewer."""
    extractor = open_extractor(load_params(CLONE / "params.yaml").extract)
    side = extractor.config.image_size
    pixels = rgb_of_bytes(pictures[0], side, "picture")[np.newaxis]
    features = extractor.network(pixels)
    rows = features.reshape(-1, features.shape[-1])
    folder = tmp_path_factory.mktemp("builds")
    return [
        build(folder / str(count), rows[:count], extractor.config.model_dump(mode="json")) for count in (784, 60, 50)
    ]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, builds: list[BankBuild]) -> Registry:
    """Two versions of bottle, the first in production."""
    folder = tmp_path_factory.mktemp("registry")
    registry = Registry(f"sqlite:///{folder}/mlflow.db", folder / "artifacts")
    for number in (0, 1):
        registry.register("bottle", builds[number])
    registry.set_alias("bottle", 1)
    return registry


@pytest.fixture(scope="module")
def client(registry: Registry) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(registry.tracking_uri, registry_uri=registry.tracking_uri)


def test_a_version_says_what_it_holds(registry: Registry, builds: list[BankBuild]) -> None:
    first, second = registry.versions("bottle")
    assert (first.version, second.version) == (1, 2)
    assert first == BankVersion(
        category="bottle",
        version=1,
        run_id=first.run_id,
        bank_sha256=builds[0].bank_sha256,
        dataset_version=3,
        dataset_sha256="d" * 64,
        evaluation_sha256="e" * 64,
        metrics={"image_auroc": 0.1 + 0.2, "pixel_auroc": None},
    )
    assert registry.find("bottle", builds[1].bank_sha256) == second == registry.version("bottle", 2)
    assert registry.find("bottle", "0" * 64) is None
    assert registry.versions("screw") == []


def test_a_bank_that_two_register_at_the_same_moment_has_one_version(
    builds: list[BankBuild], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts")
    first, find = registry.register("bottle", builds[0]), registry.find

    def not_yet(category: str, bank_sha256: str) -> BankVersion | None:
        monkeypatch.setattr(registry, "find", find)
        return None

    monkeypatch.setattr(registry, "find", not_yet)
    assert registry.register("bottle", builds[0]) == first
    assert registry.versions("bottle") == [first]


def test_the_run_shows_params_metrics_tags_and_the_data_set(registry: Registry, client: "MlflowClient") -> None:
    run = client.get_run(registry.version("bottle", 1).run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["build.seed"] == "0"
    assert run.data.params["extract.layers"] == '["blocks.2", "blocks.4"]'
    assert run.data.metrics == {"image_auroc": 0.1 + 0.2}  # None is no metric
    assert run.data.tags["git_commit"] == "c" * 40
    assert run.data.tags["flow_run_id"] == "a-flow-run"
    assert run.inputs
    [dataset] = run.inputs.dataset_inputs
    assert dataset.dataset.name == "bottle data-set version 3"
    assert "md5: 123.dir" in dataset.dataset.source
    assert {tag.key: tag.value for tag in dataset.tags}["dataset_sha256"] == "d" * 64


def test_the_version_carries_the_tags_of_its_run(registry: Registry, client: "MlflowClient") -> None:
    version = client.get_model_version("bottle", "1")
    tags = client.get_run(registry.version("bottle", 1).run_id).data.tags
    assert version.tags.items() <= tags.items()
    assert {"bank_sha256", "dataset_version", "dataset_sha256", "git_commit", "flow_run_id"} <= version.tags.keys()
    assert "data-set version 3" in (version.description or "")


def test_the_run_keeps_files_pointers_plots_and_heatmaps(registry: Registry, client: "MlflowClient") -> None:
    assert artifacts(client, registry.version("bottle", 1).run_id) == {
        "params.yaml",
        "data/bottle/train.dvc",
        "plots/roc.csv",
        "plots/roc.png",
        "plots/histogram.csv",
        "plots/histogram.png",
        "heatmaps/000.png",
    }


def test_the_same_bank_again_is_the_same_version(
    registry: Registry, client: "MlflowClient", builds: list[BankBuild]
) -> None:
    before = run_ids(client)
    assert registry.register("bottle", builds[0]) == registry.version("bottle", 1)
    assert len(registry.versions("bottle")) == 2
    assert run_ids(client) == before


def test_a_crash_before_the_version_is_picked_up(
    registry: Registry, client: "MlflowClient", builds: list[BankBuild], tmp_path: Path
) -> None:
    experiment = client.create_experiment("picked-up", tmp_path.as_uri())
    half = client.create_run(experiment, tags={"bank_sha256": builds[2].bank_sha256}).info.run_id
    run_id, _ = log_run(client, experiment, "picked-up", builds[2])
    assert registry.register("picked-up", builds[2]).run_id == run_id
    assert client.get_run(half).info.status == "KILLED"
    assert len(client.search_runs([experiment])) == 2


def test_a_run_that_fails_says_so(registry: Registry, client: "MlflowClient", builds: list[BankBuild]) -> None:
    broken = dataclasses.replace(builds[2], heatmaps=[Path("nowhere.png")])
    with pytest.raises(Fault, match=r"nowhere\.png"):
        registry.register("failing", broken)
    experiment = client.get_experiment_by_name("failing")
    assert experiment
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]
    assert registry.register("failing", builds[2]).version == 1


def test_a_metric_that_is_not_finite_is_refused(registry: Registry, builds: list[BankBuild]) -> None:
    with pytest.raises(Refused, match="image_auroc"):
        registry.register("bottle", dataclasses.replace(builds[2], metrics={"image_auroc": float("nan")}))


def test_a_bank_that_is_not_what_the_build_says_is_refused(registry: Registry, builds: list[BankBuild]) -> None:
    with pytest.raises(Refused, match="0" * 64):
        registry.register("bottle", dataclasses.replace(builds[2], bank_sha256="0" * 64))


def test_the_alias_follows(registry: Registry, builds: list[BankBuild]) -> None:
    assert registry.alias("unheard-of") is None
    registry.register("alias", builds[0])
    registry.register("alias", builds[1])
    assert registry.alias("alias") is None
    registry.set_alias("alias", 2)
    assert registry.alias("alias") == 2
    registry.set_alias("alias", 1)
    assert registry.alias("alias") == 1
    with pytest.raises(Refused, match="one of 1, 2"):
        registry.set_alias("alias", 7)
    assert registry.alias("alias") == 1


def test_alias_and_tag_come_and_go(registry: Registry, builds: list[BankBuild]) -> None:
    for number in (0, 1):
        registry.register("tags", builds[number])
    assert registry.production_tags("tags") == {1: None, 2: None}
    assert registry.production_tags("unheard-of") == {}
    registry.set_production_tag("tags", 2, "since then")
    registry.set_alias("tags", 2)
    assert registry.production_tags("tags") == {1: None, 2: "since then"}
    assert registry.version("tags", 2).bank_sha256 == builds[1].bank_sha256
    registry.set_production_tag("tags", 2, None)
    registry.remove_alias("tags")
    assert (registry.production_tags("tags"), registry.alias("tags")) == ({1: None, 2: None}, None)


def test_metrics_that_a_hand_wrote_are_refused_where_they_are_no_numbers(
    registry: Registry, client: "MlflowClient", builds: list[BankBuild]
) -> None:
    registry.register("metrics", builds[0])
    for text in ("[]", '{"image_auroc": "high"}', '{"image_auroc": true}', "nothing"):
        client.set_model_version_tag("metrics", "1", "metrics", text)
        with pytest.raises(Refused, match="the tags of bank version 1 of metrics"):
            registry.version("metrics", 1)


def test_a_bank_comes_back_byte_for_byte(registry: Registry, builds: list[BankBuild], tmp_path: Path) -> None:
    folder = registry.download_bank("bottle", 2, tmp_path / "banks" / "2")
    assert contents(folder) == contents(builds[1].bank)
    assert [entry.name for entry in folder.parent.iterdir()] == ["2"]
    before = folder.stat().st_ino
    assert registry.download_bank("bottle", 2, folder).stat().st_ino == before
    (folder / banks.ARRAYS).write_bytes(b"damaged")
    registry.download_bank("bottle", 2, folder)
    assert contents(folder) == contents(builds[1].bank)


@pytest.mark.parametrize("name", [banks.CONFIG, banks.ARRAYS])
def test_a_bank_that_was_changed_in_the_store_is_refused(
    name: str, client: "MlflowClient", registry: Registry, builds: list[BankBuild], tmp_path: Path
) -> None:
    category = f"changed-{name.replace('.', '-')}"
    version = registry.register(category, builds[0]).version
    stored = model_folder(client, category, version) / "artifacts" / "bank" / name
    stored.write_bytes(stored.read_bytes()[:-2] + b" \n")
    with pytest.raises(Refused, match=f"bank version 1 of {category}"):
        registry.download_bank(category, version, tmp_path / "bank")
    assert list(tmp_path.iterdir()) == []


def test_the_model_is_code_and_holds_no_pickle(registry: Registry, client: "MlflowClient") -> None:
    folder = model_folder(client, "bottle", 1)
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert "served_model.py" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".cloudpickle", ".joblib", ".pth"))]
    assert not [path for path in folder.rglob("*") if path.is_file() and path.read_bytes()[:1] == b"\x80"]
    from mlflow.models import Model

    flavor = Model.load(folder).flavors["python_function"]
    assert Path(flavor["model_code_path"]).name == "served_model.py"
    assert "python_model" not in flavor


def test_the_model_behind_the_alias_scores_as_the_bank_does(
    registry: Registry, builds: list[BankBuild], pictures: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    import pandas as pd

    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.tracking_uri)
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = mlflow.pyfunc.load_model("models:/bottle@production")
    bank = MemoryBank.load(builds[0].bank)
    scores = bank.score([rgb_of_bytes(picture, 224, "picture") for picture in pictures]).image
    answer = model.predict(pd.DataFrame({"image": pictures}))
    assert answer["score"].to_numpy(np.float32).tobytes() == scores.tobytes()
    assert answer["p_value"].tolist() == bank.p_values(scores).tolist()
    assert answer["anomalous"].tolist() == bank.anomalous(scores).tolist() == [False, True, True]
    assert answer["threshold"].unique().tolist() == [bank.threshold]
    with pytest.raises(mlflow.MlflowException, match="image 1"):
        model.predict(pd.DataFrame({"image": [pictures[0], b"no picture"]}))


def test_models_serve_answers(
    registry: Registry, builds: list[BankBuild], pictures: list[bytes], tmp_path: Path
) -> None:
    port = free_port()
    model = ("-m", "models:/bottle@production", "--env-manager", "local")
    command = ["mlflow", "models", "serve", *model, "-p", str(port)]
    environment = {"MLFLOW_TRACKING_URI": registry.tracking_uri, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    body = {"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(pictures[2]).decode()]]}}
    with running(command, tmp_path, environment) as server:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/ping"), server)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            [answer] = json.load(response)["predictions"]
    bank = MemoryBank.load(builds[0].bank)
    expected = bank.score([rgb_of_bytes(pictures[2], 224, "picture")]).image
    assert np.float32(answer["score"]) == expected[0]
    assert answer["anomalous"] is True
    assert answer["threshold"] == bank.threshold


def test_a_server_that_is_not_there_is_a_fault() -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    registry = Registry(uri, None)
    with pytest.raises(Fault, match=f"{uri}.*Connection refused"):
        registry.check()
    with pytest.raises(Fault, match=uri):
        registry.alias("bottle")


def test_a_database_that_cannot_be_opened_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, and is long enough to be read as one" * 20)
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "text.db", tmp_path / "file" / "mlflow.db"):
        with pytest.raises(Fault, match=str(place)):
            Registry(f"sqlite:///{place}", tmp_path).check()


def test_tags_that_a_hand_removed_are_refused(
    registry: Registry, client: "MlflowClient", builds: list[BankBuild]
) -> None:
    registry.register("by-hand", builds[0])
    client.create_model_version("by-hand", "file:///somewhere")
    assert [version.version for version in registry.versions("by-hand")] == [1]
    client.delete_model_version_tag("by-hand", "1", "dataset_sha256")
    with pytest.raises(Refused, match=r"bank version 1 of by-hand.*dataset_sha256"):
        registry.version("by-hand", 1)


def test_nobody_is_told_and_nothing_is_printed(tmp_path: Path) -> None:
    script = """
import os, sys
def hook(event, arguments):
    if event == "import" and arguments[0] == "mlflow" and os.environ.get("MLFLOW_DISABLE_TELEMETRY") != "true":
        raise SystemExit("MLflow is imported before it is told to keep quiet")
sys.addaudithook(hook)
from patchcore.adapters.mlflow.registry import Registry
Registry(sys.argv[1], None).alias("bottle")
assert "mlflow" in sys.modules
"""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", script, f"sqlite:///{tmp_path}/mlflow.db"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_the_workspace_is_the_default_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert open_registry(workspace).tracking_uri == f"sqlite:///{workspace.registry}"
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://registry.example")
    assert open_registry(workspace).tracking_uri == "http://registry.example"


def test_a_password_stays_out_of_errors() -> None:
    assert without_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert without_password("sqlite:////tmp/mlflow.db") == "sqlite:////tmp/mlflow.db"


def test_plots_are_drawn(tmp_path: Path) -> None:
    table, picture = tmp_path / "histogram.csv", tmp_path / "histogram.png"
    table.write_text("score,images,label\n0.1,3,good\n0.2,1,good\n0.1,0,defect\n0.2,4,defect\n")
    draw(table, picture)
    with Image.open(picture) as image:
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 2
    table.write_text("score\n")
    with pytest.raises(ValueError, match=r"histogram\.csv"):
        draw(table, picture)


def build(
    folder: Path, rows: "np.ndarray[tuple[int, int], np.dtype[np.float32]]", extractor: dict[str, object]
) -> BankBuild:
    count = len(rows)
    arrays = BankArrays(
        rows=rows,
        radii=np.linspace(2.0, 1.0, count),
        sources=np.zeros((count, 3), np.int32),
        calibration=np.array([0.1, 0.2, 0.3], np.float32),
    )
    description = {
        "library": "0.1.0",
        "category": "bottle",
        "dataset": {"sha256": "d" * 64, "normals": 2, "calibration": 3},
        "extractor": extractor,
        "coreset": {
            "ratio": 0.1,
            "rows": count,
            "patches": 8 * count,
            "radius": 1.0,
            "projection_dimension": None,
            "seed": 0,
            "arrivals": 1,
            "rows_added": 0,
            "rows_merged": 0,
        },
        "scoring": {"neighbours": 1, "smoothing_sigma": 4.0},
        "threshold": {"value": 0.5, "false_alarm_rate": 0.05, "guaranteed_rate": 0.25},
        "parity": None,
    }
    sha256 = banks.save(folder / "some-bank", arrays, [{"path": "a.png", "sha256": "0" * 64}], description)
    (folder / "roc.csv").write_text("false_positive_rate,true_positive_rate\n0,0\n0,1\n1,1\n")
    (folder / "histogram.csv").write_text("score,normal,defective\n0.1,3,0\n0.2,1,4\n")
    (folder / "params.yaml").write_bytes((CLONE / "params.yaml").read_bytes())
    Image.new("RGB", (8, 8)).save(folder / "000.png")
    return BankBuild(
        bank=folder / "some-bank",
        bank_sha256=sha256,
        run_name="bottle, data-set version 3",
        params=load_params(CLONE / "params.yaml").model_dump(mode="json", by_alias=True),
        metrics={"image_auroc": 0.1 + 0.2, "pixel_auroc": None},
        dataset_version=3,
        dataset_sha256="d" * 64,
        evaluation_sha256="e" * 64,
        pointers={"data/bottle/train.dvc": "outs:\n- md5: 123.dir\n  path: train\n"},
        git_commit="c" * 40,
        files=[folder / "params.yaml"],
        plots=[folder / "roc.csv", folder / "histogram.csv"],
        heatmaps=[folder / "000.png"],
        tags={"flow_run_id": "a-flow-run"},
    )


def png(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_ids(client: "MlflowClient") -> set[str]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return {run.info.run_id for run in client.search_runs(experiments)}


def artifacts(client: "MlflowClient", run_id: str, path: str = "") -> set[str]:
    found = client.list_artifacts(run_id, path)
    below = [artifacts(client, run_id, entry.path) for entry in found if entry.is_dir]
    return {entry.path for entry in found if not entry.is_dir}.union(*below)


def model_folder(client: "MlflowClient", category: str, version: int) -> Path:
    return Path(client.get_model_version_download_uri(category, str(version)).removeprefix("file://"))


def test_events_are_runs_apart_from_the_banks_each_once_and_whole(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts")
    event = EventRun(
        record=7,
        name="ingest",
        text="6 new normal images",
        failed=False,
        at="2026-06-10T02:03:11.120000Z",
        who="eva@fab",
        tags={"event": "ingest"},
        metrics={"new_normals": 6.0},
        content={"sequence": 7, "summary": {"quarantined": ["ü.png"]}},
    )
    assert registry.last_event("bottle") == 0
    run_id = registry.log_event("bottle", event)
    later = registry.log_event("bottle", dataclasses.replace(event, record=12, failed=True))
    assert registry.log_event("bottle", event) == run_id != later
    assert registry.last_event("bottle") == 12
    client, name = registry._client, experiment_of_events("bottle")
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    assert client.get_experiment_by_name("bottle") is None
    run, moment = client.get_run(run_id), round(datetime(2026, 6, 10, 2, 3, 11, 120000, UTC).timestamp() * 1000)
    assert (run.info.status, client.get_run(later).info.status) == ("FINISHED", "FAILED")
    assert (run.info.start_time, run.info.end_time) == (moment, moment)
    assert run.data.metrics == {"new_normals": 6.0, "ledger_record": 7.0}
    assert (run.data.tags["mlflow.user"], run.data.tags["mlflow.note.content"]) == ("eva@fab", "6 new normal images")
    assert json.loads(Path(client.download_artifacts(run_id, "event.json")).read_text()) == event.content


def test_a_run_of_an_event_that_a_kill_left_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts")
    event = EventRun(7, "ingest", "", False, "2026-06-10T02:03:11.120000Z", "eva@fab", {}, {}, {})

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(registry._client, "log_batch", dies)
        with pytest.raises(KeyboardInterrupt):
            registry.log_event("bottle", event)
    assert registry.last_event("bottle") == 0
    run = registry._client.get_run(registry.log_event("bottle", event))
    assert run.info.status == "FINISHED"
    assert registry.last_event("bottle") == 7
    assert len(registry._client.search_runs([run.info.experiment_id])) == 1
