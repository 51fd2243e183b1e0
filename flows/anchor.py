"""Write the ledger's state to places outside the ledger after a change."""

from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from patchcore.lifecycle.evidence.anchoring import anchor_and_tell
from patchcore.lifecycle.services import open_services


@task(task_run_name="anchor the ledger", cache_policy=NO_CACHE)
def anchor_ledger(workspace: str, *, git: bool = True) -> dict[str, Any]:
    """Anchor the ledger; a place that cannot be written causes a warning and no error.

    Args:
        workspace: The workspace's folder.
        git: Also as a git tag. Not for batches, because there would be thousands of tags.
    """
    return anchor_and_tell(open_services(workspace), git=git)
