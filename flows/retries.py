"""When a failed task is tried again."""

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from patchcore.errors import Refused


def unless_refused(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Say whether to try again: a service may answer the next time; a refusal is final."""
    return not isinstance(state.data, Refused)
