"""Record ingests and retrains in the ledger.

Each event is recorded once, even if the command that caused it was killed and run again: what to record follows from
comparing the workspace and the ledger's other records with the recorded events.
"""

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from patchcore._util.files import read_json
from patchcore.adapters.ledger.records import BankRecord, DatasetVersion, Decision, Event, EventKind
from patchcore.adapters.ledger.times import now
from patchcore.errors import PatchcoreError
from patchcore.lifecycle.event_summaries import (
    FailedRetrain,
    IngestSummary,
    QuarantinedImage,
    RetrainOutcome,
    RetrainSummary,
    WithdrawalSummary,
)
from patchcore.lifecycle.services import Services, who

NOTE = ".reason.json"
"""The suffix that the name of a note in quarantine adds to the name of its image."""

_OUTCOMES = {
    "promote": RetrainOutcome.PROMOTED,
    "rollback": RetrainOutcome.PROMOTED,
    "propose": RetrainOutcome.PROPOSED,
    "refuse": RetrainOutcome.REFUSED,
}


def record_ingest(services: Services, category: str, dataset: DatasetVersion, waiting: int) -> Event | None:
    """Record the changes since the last ingest or withdrawal, or that an earlier content is back.

    Args:
        services: The opened workspace.
        category: The category.
        dataset: Its present data-set version.
        waiting: How many files stayed in the drop folder because a program was writing them.

    Returns:
        The event; None if nothing changed.

    Raises:
        Fault: The ledger cannot be written.
    """
    changes = _changes(services, category)
    before = changes[-1].dataset_version if changes else 1
    present = services.ledger.present_dataset(category)
    same = dataset.number == before and (present is None or present.version.number == before)
    quarantined = unrecorded_quarantine(services, category)
    if same and not quarantined:
        return None
    summary = IngestSummary(
        dataset_version=dataset.number,
        dataset_sha256=dataset.sha256,
        normals=dataset.normals,
        new_normals=_new_normals(services, category, before, dataset.number),
        quarantined=tuple(quarantined),
        waiting=waiting,
    )
    return services.ledger.record_event(category, EventKind.INGEST, summary.to_json(), who=who())


def unrecorded_quarantine(services: Services, category: str) -> list[QuarantinedImage]:
    """Return the images in quarantine that no event names, ordered by path."""
    workspace = services.workspace
    recorded = {each.path for change in _changes(services, category) for each in change.quarantined}
    found = []
    for note in sorted(workspace.quarantine(category).glob(f"*{NOTE}")):
        image = note.with_name(note.name.removesuffix(NOTE))
        path = workspace.relative(image)
        if path in recorded or not image.exists():
            continue
        try:  # people read these notes, and may have changed them
            found.append(_NOTE.validate_python({**read_json(note), "path": path}))
        except (ValueError, TypeError, ValidationError):
            found.append(QuarantinedImage(path, image.name, "the note was changed", ""))
    return found


def withdrawal_reasons(services: Services, category: str) -> dict[str, str]:
    """Return, by the sha256 of each image that was withdrawn, why ingest does not take it again."""
    events = services.ledger.events(category, EventKind.WITHDRAW)
    return {
        found.sha256: f"withdrawn {event.at} by {event.who}: {found.reason}; "
        "such a file is not taken again, take another picture of the part"
        for event in events
        if (found := WithdrawalSummary.read(event)) is not None
    }


def record_retrain(
    services: Services, bank: BankRecord, *, passed: bool, reasons: Sequence[str], rebuilt: bool
) -> Event | None:
    """Record the outcome of a retrain.

    Args:
        services: The opened workspace.
        bank: The bank version that the retrain built or found.
        passed: Whether the bank passed the gate.
        reasons: A line for each rule of the gate.
        rebuilt: The bank was built from nothing on request. That is recorded even if the bank is the same.

    Returns:
        The event; None if the retrain decided nothing that was not recorded before.

    Raises:
        Fault: The ledger cannot be written.
    """
    category = bank.category
    decisions = services.ledger.decisions_for(category, bank.version)
    decided = _is_unrecorded(services, category, bank.version, decisions)
    if not decided and not rebuilt:
        return None
    production = services.ledger.production(category)
    summary = RetrainSummary(
        dataset_version=bank.dataset_version,
        bank_version=bank.version,
        bank_sha256=bank.sha256,
        run_id=bank.run_id,
        production=production.version if production else None,
        outcome=_OUTCOMES[decisions[-1].action] if decided else RetrainOutcome.UNCHANGED,
        verdict="passed" if passed else "failed",
        reasons=tuple(reasons),
        rebuilt=rebuilt,
    )
    return services.ledger.record_event(category, EventKind.RETRAIN, summary.to_json(), who=who())


def record_failure(services: Services, category: str, error: Exception) -> Event:
    """Record that a retrain was refused or failed; if the ledger itself failed, return the event unrecorded."""
    words = str(error) if isinstance(error, PatchcoreError) else f"{type(error).__name__}: {error}"
    summary = FailedRetrain((words,)).to_json()
    try:
        return services.ledger.record_event(category, EventKind.RETRAIN, summary, who=who())
    except PatchcoreError:
        return Event(0, category, EventKind.RETRAIN, summary, who(), now())


_NOTE = TypeAdapter(QuarantinedImage)


def _is_unrecorded(services: Services, category: str, version: int, decisions: Sequence[Decision]) -> bool:
    """Say whether no retrain recorded this bank, or its images came back later and it was decided on again."""
    recorded = [
        event.sequence
        for event in services.ledger.events(category, EventKind.RETRAIN)
        if (found := RetrainSummary.read(event)) is not None and found.bank_version == version
    ]
    present = services.ledger.present_dataset(category)
    since = present.since if present else 0
    decided_again = bool(decisions) and decisions[-1].sequence > since
    return not recorded or (decided_again and recorded[-1] < since)


def _changes(services: Services, category: str) -> list[IngestSummary | WithdrawalSummary]:
    """Return what the ledger has of every change of the normal images or of the quarantine, oldest first."""
    found = (IngestSummary.read(event) or WithdrawalSummary.read(event) for event in services.ledger.events(category))
    return [summary for summary in found if summary is not None]


def _new_normals(services: Services, category: str, before: int, after: int) -> int:
    """Return how many normal images of a data-set version have a content that the version before does not have."""
    earlier, later = services.ledger.members(category, before), services.ledger.members(category, after)
    return len({each.sha256 for each in later if each.part == "train"} - {each.sha256 for each in earlier})
