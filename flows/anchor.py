"""The ledger's state, written down outside of it after what changed it."""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from patchcore.lifecycle.evidence.anchoring import anchor_and_tell
from patchcore.lifecycle.services import open_services


@task(task_run_name="anchor the ledger", cache_policy=NO_CACHE)
def anchor_ledger(workspace: str, *, git: bool = True) -> dict[str, Any]:
    """Anchor the ledger; a place that cannot be written is told, and fails nothing that was done.

    Args:
        workspace: the workspace's folder.
        git: also as a tag. Not for every batch: there would be thousands.
    """
    return anchor_and_tell(open_services(workspace), git=git)
