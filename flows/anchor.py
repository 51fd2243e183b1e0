"""Write the ledger's state to places outside the ledger after a change."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from patchcore.lifecycle.anchor_result import AnchorResult
from patchcore.lifecycle.evidence.anchoring import anchor_after_change
from patchcore.lifecycle.services import open_services


@task(task_run_name="anchor the ledger", cache_policy=NO_CACHE)
def anchor_ledger(workspace: str, *, git: bool = True) -> AnchorResult:
    """Anchor the ledger; a place that cannot be written causes a warning and no error.

    Args:
        workspace: The workspace's folder.
        git: Also as a git tag. Not for batches, because there would be thousands of tags.
    """
    return anchor_after_change(open_services(workspace), git=git)
