"""One bank build as one MLflow run: params, metrics, data set, files, pictures, and the model that scores.

Everything goes through a client: MLflow's notion of an active run is global state, and it also runs git.
"""

import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import patchcore
from patchcore.adapters.mlflow.plots import draw
from patchcore.adapters.mlflow.records import BankBuild, flattened
from patchcore.errors import Fault

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModel, Metric

_MODEL_SCRIPT = Path(__file__).with_name("served_model.py")


def complete_run(client: "MlflowClient", experiment_id: str, bank_sha256: str) -> tuple[str, str] | None:
    """Return (run id, logged model's id) of a finished run of this bank that has no version yet, as a crash leaves it.

    Runs that a crash left unfinished are closed with the status KILLED.
    """
    finished = None
    for run in client.search_runs([experiment_id], f"tags.bank_sha256 = '{bank_sha256}'"):
        if run.info.status == "FINISHED" and run.outputs:
            finished = (run.info.run_id, run.outputs.model_outputs[0].model_id)
        elif run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "KILLED")
    return finished


def log_run(client: "MlflowClient", experiment_id: str, category: str, build: BankBuild) -> tuple[str, str]:
    """Log a build as a new run and return (run id, logged model's id)."""
    from mlflow.entities import LoggedModelOutput, Param

    run = client.create_run(experiment_id, tags=_run_tags(category, build), run_name=build.run_name)
    run_id: str = run.info.run_id
    try:
        params = dict(flattened(build.params))
        model = client.create_logged_model(
            experiment_id, f"{category}-bank", run_id, build.all_tags(), params, "patchcore memory bank"
        )
        dataset = _dataset(category, build)
        client.log_inputs(run_id, [dataset])
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        client.log_batch(
            run_id,
            metrics=_metrics(build, model.model_id, dataset),
            params=[Param(name, value) for name, value in params.items()],
        )
        _log_files(client, run_id, build)
        _log_model(client, run_id, model, build)
    except BaseException:
        with suppress(Exception):  # report the first error
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id, "FINISHED")
    return run_id, model.model_id


def _run_tags(category: str, build: BankBuild) -> dict[str, str]:
    # Names that begin with mlflow. are those that its user interface shows in columns of their own.
    own = {
        "mlflow.note.content": build.description(category),
        "mlflow.source.name": "patchcore",
        "mlflow.source.type": "LOCAL",
    }
    if build.author:
        own["mlflow.user"] = build.author
    if build.git_commit:
        own["mlflow.source.git.commit"] = build.git_commit
    return {**build.all_tags(), **own}


def _dataset(category: str, build: BankBuild) -> "DatasetInput":
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = CodeDatasetSource(dict(build.pointers))
    dataset = Dataset(
        name=f"{category} data-set version {build.dataset_version}",
        digest=build.dataset_sha256[:8],  # the length of MLflow's own digests; a tag has all of it
        source_type=source._get_source_type(),
        source=source.to_json(),
    )
    tags = {
        "mlflow.data.context": "training",
        "dataset_sha256": build.dataset_sha256,
        "dataset_version": str(build.dataset_version),
    }
    return DatasetInput(dataset, [InputTag(name, value) for name, value in tags.items()])


def _metrics(build: BankBuild, model_id: str, dataset: "DatasetInput") -> "list[Metric]":
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [
        Metric(
            name,
            value,
            now,
            step=0,
            model_id=model_id,
            dataset_name=dataset.dataset.name,
            dataset_digest=dataset.dataset.digest,
        )
        for name, value in build.metrics.items()
        if value is not None
    ]


def _log_files(client: "MlflowClient", run_id: str, build: BankBuild) -> None:
    with _staged(build) as folder:
        client.log_artifacts(run_id, str(folder))


@contextmanager
def _staged(build: BankBuild) -> Iterator[Path]:
    """Yield a folder with all artifacts of the run: one upload, in one order."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            _copy(build.files, folder)
            _copy(build.plots, folder / "plots")
            _copy(build.heatmaps, folder / "heatmaps")
            for name, text in build.pointers.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise Fault(
                f"{error.filename or build.bank}", got=str(error), expected="a file to register", remedy="retrain"
            ) from error
        for table in build.plots:
            draw(table, folder / "plots" / f"{table.stem}.png")
        yield folder


def _copy(files: Sequence[Path], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)


def _log_model(client: "MlflowClient", run_id: str, model: "LoggedModel", build: BankBuild) -> None:
    """Save the model, from code and with the bank in it, and upload it."""
    import mlflow
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    outputs = [("double", "score"), ("double", "p_value"), ("boolean", "anomalous"), ("double", "threshold")]
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for an example input; a test loads the model instead
        folder, bank = Path(temporary, "model"), Path(temporary, "bank")
        shutil.copytree(build.bank, bank)  # MLflow keeps the folder's name: every model has artifacts/bank
        mlflow.pyfunc.save_model(
            folder,
            python_model=_MODEL_SCRIPT,
            artifacts={"bank": str(bank)},
            model_config={"bank_sha256": build.bank_sha256, "weights": None},
            signature=ModelSignature(
                Schema([ColSpec("binary", "image")]), Schema([ColSpec(*output) for output in outputs])
            ),
            # Given, because MLflow infers them by loading the model in another process, which takes half a minute.
            pip_requirements=[f"mlflow=={mlflow.__version__}", f"patchcore-lifecycle=={patchcore.__version__}"],
            mlflow_model=Model(
                artifact_path=model.artifact_location,
                run_id=run_id,
                model_uuid=model.model_id,
                model_id=model.model_id,
            ),
        )
        client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, "READY")
