"""Whoever is to know what an ingest or a retrain did: MLflow, Prefect, the webhook. The ledger knows it already."""

from contextlib import suppress

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import happening_page, leave_markdown
from flows.webhook import notify
from patchcore.adapters.ledger.records import Event
from patchcore.lifecycle import events
from patchcore.lifecycle.mlflow_events import log_events_or_warn
from patchcore.lifecycle.services import Services, open_services


def tell(workspace: str, category: str, *recorded: Event | None) -> None:
    """Tell all of them, the last two once for each record; nothing was recorded, nothing is told.

    MLflow is brought up to date in any case: a run before this one may have died before it was.
    """
    unlogged = log_runs(workspace, category)
    for event in recorded:
        if event is not None:
            text = events.describe(event)
            warnings = [unlogged, notify(event, text)]
            page = happening_page(text, events.details(event), [each for each in warnings if each])
            leave_markdown(f"{event.action}-report", event.category, page)


def tell_failure(services: Services, category: str, error: Exception) -> None:
    """Record and tell that a retrain was refused or failed; what fails here must not hide that."""
    with suppress(Exception):
        tell(str(services.workspace.root), category, events.record_failure(services, category, error))


@task(task_run_name="log to MLflow what happened to {category}", cache_policy=NO_CACHE)
def log_runs(workspace: str, category: str) -> str | None:
    """Give a run in MLflow to whatever the ledger recorded; return a warning where that fails."""
    return log_events_or_warn(open_services(workspace), category)
