"""Publish recorded events to MLflow, Prefect and the webhook."""

from contextlib import suppress

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import leave_markdown
from patchcore.adapters.ledger.records import Event
from patchcore.lifecycle.event_summaries import describe, details
from patchcore.lifecycle.events import record_failure
from patchcore.lifecycle.mlflow_events import log_events_or_warn
from patchcore.lifecycle.pages import event_page
from patchcore.lifecycle.services import Services, open_services
from patchcore.lifecycle.webhook import notify


def publish(workspace: str, category: str, *recorded: Event | None) -> None:
    """Publish events; None means that no event was recorded, and is skipped.

    MLflow is brought up to date in any case: a run before this one may have been killed before it did that.
    """
    unlogged = log_runs(workspace, category)
    for event in recorded:
        if event is not None:
            text = describe(event)
            warnings = [each for each in (unlogged, notify(event, text)) if each]
            leave_markdown(f"{event.action}-report", event.category, event_page(text, details(event), warnings))


def publish_failure(services: Services, category: str, error: Exception) -> None:
    """Record and publish that a retrain was refused or failed; an error in here must not hide the first one."""
    with suppress(Exception):
        publish(str(services.workspace.root), category, record_failure(services, category, error))


@task(task_run_name="log events of {category} to MLflow", cache_policy=NO_CACHE)
def log_runs(workspace: str, category: str) -> str | None:
    """Give a run in MLflow to every event that has none; return a warning if that fails."""
    return log_events_or_warn(open_services(workspace), category)
