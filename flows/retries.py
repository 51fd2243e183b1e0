"""When a task that failed is worth another attempt."""

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from patchcore.errors import Refused


def unless_refused(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Say whether to try again: a service may answer the next time, what is refused stays refused."""
    return not isinstance(state.data, Refused)
