"""Start a retrain when new files have come: look at every drop folder every few seconds while flows are served.

A look lists a folder and asks for the size and the time of each file. It costs little, and it works where the kernel
sends no notifications: on a network drive that another machine writes to.
"""

import asyncio
import hashlib
import sys
import time
from datetime import UTC, datetime
from uuid import UUID

from patchcore.config.workspace import Workspace
from patchcore.lifecycle.intake.drop_watch import DropWatch
from patchcore.lifecycle.intake.file_stability import Files, identities
from patchcore.lifecycle.services import open_services

_SHORTEST, _LONGEST = 0.2, 10.0  # seconds between two looks


async def watch(workspace: str) -> None:
    """Look at the drop folders of a workspace until cancelled; return at once if params.yaml turns that off."""
    services = open_services(workspace)
    schedule = services.params.schedule
    if not schedule.watch:
        return
    place = services.workspace
    watches = {
        category: DropWatch(place.drop(category), place.watched(category), schedule)
        for category in services.params.categories
    }
    problems: dict[str, str] = {}
    while True:
        for category, one in watches.items():
            problems[category] = await _look(place, category, one, problems.get(category, ""))
        await asyncio.sleep(min(max(schedule.settle_seconds / 2, _SHORTEST), _LONGEST))


async def _look(workspace: Workspace, category: str, one: DropWatch, before: str) -> str:
    """Look once, and start a retrain if there is work; return what went wrong. A lasting problem is reported once."""
    try:
        # In a thread: a network drive may be slow, and the served flows must not wait for it.
        found = await asyncio.to_thread(one.due, datetime.now(UTC), time.monotonic())
        if found is not None:
            files, decision = found
            await start(workspace, category, files)
            one.started(files)
            sys.stderr.write(f"retrain {category}: {decision.reason}\n")
        for name in one.restless(time.monotonic()):
            sys.stderr.write(f"warning: {workspace.drop(category) / name} has been changing for an hour: not taken\n")
    except Exception as error:  # noqa: BLE001  # the next look may succeed, and serving must continue
        problem = f"{type(error).__name__}: {error}"
        if problem != before:
            sys.stderr.write(f"warning: drop folder of {category}: {problem}; looking again\n")
        return problem
    return ""


async def start(workspace: Workspace, category: str, files: Files) -> UUID:
    """Ask Prefect for a run of the category's retrain and return its id; the same files give the same run."""
    from prefect.deployments import arun_deployment

    flow_run = await arun_deployment(
        f"retrain/retrain-{category}",
        timeout=0,
        as_subflow=False,
        idempotency_key=_key(workspace, category, files),
    )
    return flow_run.id


def _key(workspace: Workspace, category: str, files: Files) -> str:
    words = [str(workspace.root), category, *sorted(identities(files))]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()
