"""What `schedule` has to know about a category, gathered from its drop folder and the services."""

import time
from datetime import UTC, datetime, timedelta

from patchcore._util.files import read_json
from patchcore.dataset.manifest import scan
from patchcore.errors import Refused
from patchcore.lifecycle.events import RETRAIN
from patchcore.lifecycle.intake.file_stability import look
from patchcore.lifecycle.intake.ingest import claims
from patchcore.lifecycle.intake.schedule import Decision, Situation, decide
from patchcore.lifecycle.regate_policy import banks_to_be_judged
from patchcore.lifecycle.services import Services


def due_work(services: Services, category: str, now: datetime) -> Decision:
    """Decide what a retrain that starts by itself has to do.

    Raises:
        Refused: the drop folder cannot be listed, or the category's images cannot be read.
        Fault: the registry or the ledger does not answer.
    """
    return decide(situation(services, category, now), services.params.schedule)


def situation(services: Services, category: str, now: datetime) -> Situation:
    """Gather what the decision depends on. All images of the category are hashed for it.

    Raises:
        Refused: the drop folder cannot be listed, or the category's images cannot be read.
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
        unfinished=_unfinished(services, category),
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


def _unfinished(services: Services, category: str) -> str | None:
    """Return what a run that died or failed left undone: files half taken, a content not recorded, a bank not judged.

    Raises:
        Refused: the category's images cannot be read.
    """
    if claimed := len(claims(services.workspace.drop(category))):
        return f"{claimed} {'file was' if claimed == 1 else 'files were'} being taken when a run was stopped"
    present = services.ledger.present_dataset(category)
    if present is None or present.version.sha256 != scan(services.workspace, category).sha256:
        return "the images are not those of the data-set version that was recorded last"
    banks = [bank for bank in services.ledger.banks(category) if bank.dataset_version == present.version.number]
    if not banks:
        return f"data-set version {present.version.number}, the present one, has no bank yet"
    # Of several, by other parameters each, a retrain would come to the one that stands in the workspace. After a
    # withdrawal that is a bank of other images: then any of them may be it, and those that stay as they are decide.
    found = [bank for bank in banks if bank.sha256 == _bank_in_the_workspace(services, category)] or banks
    if len(banks_to_be_judged(services, category, found)) < len(found):
        return None
    return f"bank version {found[-1].version}, of the present data-set version, is not judged yet"


def _bank_in_the_workspace(services: Services, category: str) -> str | None:
    """Return the sha256 of the bank that was evaluated last; None where no report says so."""
    try:
        return str(read_json(services.workspace.metrics(category))["bank_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
