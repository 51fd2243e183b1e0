"""Serve every flow with its schedule from this process until it is stopped, and watch the drop folders."""

import asyncio
import signal
from collections.abc import Sequence
from typing import Any

from flows.ingest import ingest
from flows.promote import promote, rollback
from flows.retrain import retrain
from flows.score import score
from flows.watch import watch
from patchcore.lifecycle.services import open_services

_PATIENCE = 10.0  # seconds for the runner to pause its schedules and stop


def deployments(workspace: str) -> list[Any]:
    """Return the deployments of a workspace: a scheduled retrain per category, and every flow to start by hand."""
    from prefect.schedules import Cron

    # Prefect's concurrency limits are not used: they are leases in the memory of a server. Without a server of the
    # user's, the process of a flow run starts its own, which has no such lease and cancels the run; and a server that
    # restarts forgets the leases. `limit` below and the workspace's lock allow one run at a time.
    params = open_services(workspace).params
    served = [
        retrain.to_deployment(
            name=f"retrain-{category}",
            parameters={"workspace": workspace, "category": category, "drop": True},
            schedule=Cron(params.schedule.retrain, timezone=params.schedule.time_zone),
            description=f"Take new normal images of {category}, rebuild its bank, promote it if it passes the gate.",
        )
        for category in params.categories
    ]
    by_hand = (ingest, promote, rollback, score)
    return [*served, *(one.to_deployment(name=one.name, parameters={"workspace": workspace}) for one in by_hand)]


def serve(workspace: str) -> None:
    """Serve the deployments of a workspace, and watch its drop folders; return when interrupted."""
    asyncio.run(_serve(deployments(workspace), workspace))


async def _serve(served: Sequence[Any], workspace: str | None = None) -> None:
    from prefect import aserve

    serving = asyncio.create_task(aserve(*served, limit=1))
    watching = asyncio.create_task(watch(workspace)) if workspace else None
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    waiting = asyncio.create_task(interrupted.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if watching:
        watching.cancel()
    # Prefect's runner can lose a cancellation that comes while the process of a flow run ends, so it is repeated.
    while not serving.done():
        serving.cancel()
        await asyncio.wait({serving}, timeout=_PATIENCE)
    if not serving.cancelled():
        serving.result()  # raises the error that ended it
