"""Every flow with its schedule, served from this process until it is stopped."""

from typing import Any

from flows.ingest import ingest
from flows.promote import promote, rollback
from flows.retrain import retrain
from flows.score import score
from patchcore.lifecycle.services import open_services


def deployments(workspace: str) -> list[Any]:
    """Return the deployments of a workspace: a scheduled retrain a category, and every flow to be started by hand."""
    from prefect.schedules import Cron

    params = open_services(workspace).params
    served = [
        retrain.to_deployment(
            name=f"retrain-{category}",
            parameters={"workspace": workspace, "category": category, "drop": True},
            schedule=Cron(params.schedule.retrain, timezone=params.schedule.time_zone),
            concurrency_limit=1,
            description=f"Take new normal images of {category}, rebuild its bank, promote it if it passes the gate.",
        )
        for category in params.categories
    ]
    by_hand = (ingest, promote, rollback, score)
    return [*served, *(one.to_deployment(name=one.name, parameters={"workspace": workspace}) for one in by_hand)]


def serve(workspace: str) -> None:
    """Serve the deployments of a workspace; returns when it is interrupted."""
    from prefect import serve as serve_deployments

    serve_deployments(*deployments(workspace), limit=1)
