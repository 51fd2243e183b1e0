"""The events of a category as MLflow runs, in an experiment beside that of its banks: ``bottle/events``."""

import json
from typing import TYPE_CHECKING

from patchcore.adapters.mlflow.records import EventRun

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_RECORD = "ledger_record"
"""The name of the tag by which a run is found, and of the metric by which runs are ordered."""


def experiment_of_events(category: str) -> str:
    """Return the name of the experiment; that of the banks compares metrics, which events do not have."""
    return f"{category}/events"


def last_logged(client: "MlflowClient", experiment_id: str) -> int:
    """Return the highest number of a ledger record that has a finished run; 0 if none has."""
    whole = "attributes.status != 'RUNNING'"
    found = client.search_runs([experiment_id], whole, max_results=1, order_by=[f"metrics.{_RECORD} DESC"])
    return max((int(run.data.metrics.get(_RECORD, 0)) for run in found), default=0)


def log_event(client: "MlflowClient", experiment_id: str, event: EventRun) -> str:
    """Log an event as a run, or complete the run that a crash left unfinished, and return the run's id."""
    from mlflow.entities import Metric

    found = client.search_runs([experiment_id], f"tags.{_RECORD} = '{event.record}'", max_results=1)
    run = found[0] if found else _begin(client, experiment_id, event)
    run_id = str(run.info.run_id)
    if run.info.status == "RUNNING":
        metrics = {**event.metrics, _RECORD: float(event.record)}
        client.log_text(run_id, json.dumps(event.content, indent=2, ensure_ascii=False) + "\n", "event.json")
        client.log_batch(run_id, [Metric(name, value, event.milliseconds, 0) for name, value in metrics.items()])
        client.set_terminated(run_id, "FAILED" if event.failed else "FINISHED", event.milliseconds)
    return run_id


def _begin(client: "MlflowClient", experiment_id: str, event: EventRun) -> "Run":
    # Names that begin with mlflow. are those that its user interface shows in columns of their own.
    own = {
        "mlflow.note.content": event.text,
        "mlflow.source.name": "patchcore",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": event.who,
    }
    tags = {**event.tags, **own, _RECORD: str(event.record)}
    return client.create_run(experiment_id, start_time=event.milliseconds, tags=tags, run_name=event.name)
