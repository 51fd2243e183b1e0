"""What a command refuses before Prefect starts, which takes seconds: by the very checks that its flow makes again.

Nothing here decides: a check that passes holds for this moment only.
"""

from collections.abc import Sequence

from patchcore.adapters.ledger.records import CHANGES_PRODUCTION, Decision
from patchcore.lifecycle.services import Services


def require_way_back(services: Services, category: str, reason: str, to: int | None) -> None:
    """Refuse a rollback that leads nowhere: a person in a hurry is to know that at once.

    Raises:
        UsageError: there is no reason.
        Refused: no other version was in production, or not the one that is named, or all were gone back from.
    """
    from patchcore.lifecycle.production.promotion import rollback

    changes = [each for each in services.ledger.history(category) if each.action in CHANGES_PRODUCTION]
    known = {each.to_version for each in changes}
    if len(known) < 2 or to not in {None, *known} or _is_back_at_the_first(changes, reason):
        rollback(services, category, reason=reason, to=to)  # it cannot but refuse


def _is_back_at_the_first(changes: Sequence[Decision], reason: str) -> bool:
    """Say whether rollbacks led to the first version of all; for the same reason again it is the one that is done."""
    first, last = changes[0], changes[-1]
    return (last.action, last.to_version) == ("rollback", first.to_version) and last.reason != reason
