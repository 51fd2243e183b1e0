"""Artifacts: pages and tables that a flow run leaves in Prefect.

If Prefect does not take an artifact, that is a warning and no error.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence

from prefect.artifacts import create_markdown_artifact, create_table_artifact


def leave_markdown(key: str, category: str, text: str) -> None:
    """Leave a page under a key of its own for each category, so that Prefect shows its history."""
    _leave(lambda: create_markdown_artifact(key=_key(key, category), markdown=text))


def leave_table(key: str, category: str, rows: Sequence[Mapping[str, object]], description: str) -> None:
    """Leave a table under a key of its own for each category."""
    table = [dict(row) for row in rows]
    _leave(lambda: create_table_artifact(key=_key(key, category), table=table, description=description))


def _leave(make: Callable[[], object]) -> None:
    try:
        make()
    except Exception as error:  # noqa: BLE001  # the work is done; no error of the server or client undoes it
        sys.stderr.write(f"warning: Prefect does not show a page of this run: {type(error).__name__}: {error}\n")


def _key(name: str, category: str) -> str:
    return re.sub(r"[^a-z0-9-]", "-", f"{name}-{category}".lower())
