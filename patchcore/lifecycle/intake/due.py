"""What `schedule` has to know about a category, gathered from its drop folder and the services."""

import time
from datetime import UTC, datetime, timedelta

from patchcore.errors import Refused
from patchcore.lifecycle.happenings import RETRAIN
from patchcore.lifecycle.intake.schedule import Decision, Situation, decide
from patchcore.lifecycle.intake.settling import look
from patchcore.lifecycle.services import Services


def due_work(services: Services, category: str, now: datetime) -> Decision:
    """Decide what a retrain that starts by itself has to do.

    Raises:
        Refused: the drop folder cannot be listed.
        Fault: the registry or the ledger does not answer.
    """
    return decide(situation(services, category, now), services.params.schedule)


def situation(services: Services, category: str, now: datetime) -> Situation:
    """Gather what the decision depends on.

    Raises:
        Refused: the drop folder cannot be listed.
        Fault: the registry or the ledger does not answer.
    """
    folder = services.workspace.drop(category)
    try:
        files = look(folder)
    except OSError as error:
        got = error.strerror or str(error)
        raise Refused(f"{folder} cannot be listed", got, "a folder that can be read", "mend its rights") from error
    arrived = min((stamp.changed for stamp in files.values()), default=None)
    return Situation(
        now=now,
        waiting=len(files),
        oldest_waiting=None if arrived is None else timedelta(microseconds=(time.time_ns() - arrived) // 1000),
        unbuilt=_is_unbuilt(services, category),
        built_anew=built_anew(services, category),
    )


def built_anew(services: Services, category: str) -> datetime | None:
    """Return when a bank of a category was last built from nothing, whatever the gate said; None if that is not known.

    A bank that grew has more than one arrival in it. A rebuild may come to the same bytes, and to no new bank: only the
    record of the retrain tells of that one.
    """
    numbers = {bank.version for bank in services.registry.versions(category) if bank.metrics.get("arrivals") == 1}
    times = [bank.at for bank in services.ledger.banks(category) if bank.version in numbers]
    times += [event.at for event in services.ledger.events(category, RETRAIN) if event.summary.get("rebuilt")]
    return datetime.fromisoformat(max(times)).astimezone(UTC) if times else None


def _is_unbuilt(services: Services, category: str) -> bool:
    """Say whether the latest data-set version has no bank: a run took the images and died before it built one."""
    latest = services.ledger.latest_dataset(category)
    return latest is not None and all(
        bank.dataset_sha256 != latest.sha256 for bank in services.registry.versions(category)
    )
