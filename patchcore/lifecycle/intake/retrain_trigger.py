"""Whether a category is due for a retrain: the facts that `schedule` decides by, from drop folder and services."""

import time
from datetime import UTC, datetime, timedelta

from patchcore._util.files import read_json
from patchcore.adapters.ledger.records import EventKind
from patchcore.dataset.manifest import scan
from patchcore.errors import InvalidPath
from patchcore.lifecycle.event_summaries import RetrainSummary
from patchcore.lifecycle.intake.file_stability import look
from patchcore.lifecycle.intake.placement import claims
from patchcore.lifecycle.intake.schedule import Decision, Situation, decide
from patchcore.lifecycle.regate_policy import banks_to_be_judged
from patchcore.lifecycle.services import Services


def due_work(services: Services, category: str, now: datetime) -> Decision:
    """Decide what a scheduled retrain has to do.

    Args:
        services: The opened workspace.
        category: The category.
        now: The time, with a time zone.

    Raises:
        Refused: The drop folder cannot be listed, or the category's images cannot be read.
        Fault: The registry or the ledger does not answer.
    """
    return decide(situation(services, category, now), services.params.schedule)


def situation(services: Services, category: str, now: datetime) -> Situation:
    """Gather the facts that the decision depends on. All images of the category are digested for it.

    Raises:
        Refused: The drop folder cannot be listed, or the category's images cannot be read.
        Fault: The registry or the ledger does not answer.
    """
    folder = services.workspace.drop(category)
    try:
        files = look(folder)
    except OSError as error:
        got = error.strerror or str(error)
        raise InvalidPath(
            f"{folder} cannot be listed", got, "a folder that can be read", "check its access rights"
        ) from error
    arrived = min((stamp.changed for stamp in files.values()), default=None)
    return Situation(
        now=now,
        waiting=len(files),
        oldest_waiting=None if arrived is None else timedelta(microseconds=(time.time_ns() - arrived) // 1000),
        unfinished=_unfinished(services, category),
        last_rebuild=last_rebuild(services, category),
    )


def last_rebuild(services: Services, category: str) -> datetime | None:
    """Return when a bank of a category was last built from nothing, even if the gate refused it; None if unknown.

    A bank that grew has more than one arrival. A rebuild can end with the same bytes and no new bank version: only the
    record of the retrain shows it.
    """
    numbers = {bank.version for bank in services.registry.versions(category) if bank.metrics.get("arrivals") == 1}
    times = [bank.at for bank in services.ledger.banks(category) if bank.version in numbers]
    for event in services.ledger.events(category, EventKind.RETRAIN):
        summary = RetrainSummary.read(event)
        if summary is not None and summary.rebuilt:
            times.append(event.at)
    return datetime.fromisoformat(max(times)).astimezone(UTC) if times else None


def _unfinished(services: Services, category: str) -> str | None:
    """Return what a killed or failed run did not finish; None if there is nothing.

    That is: files that were being taken, images that are not recorded, or a bank that the gate has not judged.

    Raises:
        Refused: The category's images cannot be read.
    """
    if claimed := len(claims(services.workspace.drop(category))):
        return f"{claimed} {'file was' if claimed == 1 else 'files were'} being taken when a run was stopped"
    present = services.ledger.present_dataset(category)
    if present is None or present.version.sha256 != scan(services.workspace, category, services.digests).sha256:
        return "the images are not those of the data-set version that was recorded last"
    banks = [bank for bank in services.ledger.banks(category) if bank.dataset_version == present.version.number]
    if not banks:
        return f"data-set version {present.version.number}, the present one, has no bank yet"
    # With several banks (built with other parameters), a retrain would find the one in the workspace. After a
    # withdrawal that is a bank of other images; then the work is done if any of these needs no judgement.
    found = [bank for bank in banks if bank.sha256 == _workspace_bank(services, category)] or banks
    if len(banks_to_be_judged(services, category, found)) < len(found):
        return None
    return f"bank version {found[-1].version}, of the present data-set version, is not judged yet"


def _workspace_bank(services: Services, category: str) -> str | None:
    """Return the sha256 of the bank that was evaluated last; None if there is no report of it."""
    try:
        return str(read_json(services.workspace.metrics(category))["bank_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
