"""What the ledger keeps of ingests and retrains: what came, what became of it, and what went wrong.

Each is recorded once, also when the run that did it was killed and the command was run again: what is to be recorded
is found by comparing the workspace and the ledger's other records with the events that there are.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patchcore._util.files import read_json
from patchcore.adapters.ledger.records import DatasetVersion, Decision, Event
from patchcore.adapters.ledger.times import now
from patchcore.errors import PatchcoreError
from patchcore.lifecycle.services import Services, who

INGEST, RETRAIN, WITHDRAW = "ingest", "retrain", "withdraw"
NOTE = ".reason.json"
"""How the name of a note in quarantine ends, after that of its image."""

_OUTCOMES = {"promote": "promoted", "rollback": "promoted", "propose": "proposed", "refuse": "refused"}


def record_ingest(services: Services, category: str, dataset: DatasetVersion, waiting: int) -> Event | None:
    """Record what came since the last such record, or that an earlier content is back; return None if neither is so.

    Args:
        services: the opened workspace.
        category: the category.
        dataset: its present data-set version.
        waiting: how many files were left in the drop folder, because somebody is writing them.

    Raises:
        Fault: the ledger cannot be written.
    """
    before = _recorded_last(services, category)
    present = services.ledger.present_dataset(category)
    same = dataset.number == before and (present is None or present.version.number == before)
    quarantined = unrecorded(services, category)
    if same and not quarantined:
        return None
    summary = {
        "dataset_version": dataset.number,
        "dataset_sha256": dataset.sha256,
        "normals": dataset.normals,
        "new_normals": _new_normals(services, category, before, dataset.number),
        "quarantined": quarantined,
        "waiting": waiting,
    }
    return services.ledger.record_event(category, INGEST, summary, who=who())


def unrecorded(services: Services, category: str) -> list[dict[str, str]]:
    """Return the images in quarantine that no record names: path, source, sha256 and reason of each."""
    place = services.workspace.quarantine(category)
    events = _changes(services, category)
    recorded = {each["path"] for event in events for each in event.summary.get("quarantined", ())}
    found = []
    for note in sorted(place.glob(f"*{NOTE}")):
        image = note.with_name(note.name.removesuffix(NOTE))
        path = services.workspace.relative(image)
        if path not in recorded and image.exists():
            found.append({"path": path, **_note(note)})
    return found


def withdrawn(services: Services, category: str) -> dict[str, str]:
    """Return why images were withdrawn from a category, by their sha256: what ingest says when one comes again."""
    return {
        str(event.summary["sha256"]): f"withdrawn {event.at} by {event.who}: {event.summary['reason']}; "
        "such a file is not taken again, take another picture of the part"
        for event in services.ledger.events(category, WITHDRAW)
    }


def record_retrain(services: Services, category: str, result: Mapping[str, Any], *, rebuilt: bool) -> Event | None:
    """Record what became of a retrain; return None where it decided nothing that was not recorded before.

    Args:
        services: the opened workspace.
        category: the category.
        result: what the command found, by the names of its contract.
        rebuilt: the bank was built from nothing. That is recorded even if the same bank came out.

    Raises:
        Fault: the ledger cannot be written.
    """
    version = result["bank_version"]
    decisions = services.ledger.decisions_for(category, version)
    decided = _is_unrecorded(services, category, version, decisions)
    if not decided and not rebuilt:
        return None
    summary = {
        **{key: result[key] for key in ("dataset_version", "bank_version", "bank_sha256", "run_id", "production")},
        "outcome": _OUTCOMES[decisions[-1].action] if decided else "unchanged",
        "verdict": "passed" if result["gate"]["passed"] else "failed",
        "reasons": list(result["gate"]["reasons"]),
        "rebuilt": rebuilt,
    }
    return services.ledger.record_event(category, RETRAIN, summary, who=who())


def record_failure(services: Services, category: str, error: Exception) -> Event:
    """Record that a retrain was refused or failed; where the ledger is what failed, return what it would hold."""
    words = str(error) if isinstance(error, PatchcoreError) else f"{type(error).__name__}: {error}"
    summary = {"outcome": "failed", "reasons": [words]}
    try:
        return services.ledger.record_event(category, RETRAIN, summary, who=who())
    except PatchcoreError:
        return Event(0, category, RETRAIN, summary, who(), now())


def describe(event: Event) -> str:
    """Return what an ingest, a retrain or a withdrawal did, in a sentence."""
    found, category = event.summary, event.category
    if event.action == WITHDRAW:
        return f"{category}: {found['path']} withdrawn ({found['reason']}); data-set version {found['dataset_version']}"
    if event.action == INGEST:
        new = found["new_normals"]
        came = f"{new} new normal image{'' if new == 1 else 's'}, {len(found['quarantined'])} in quarantine"
        return f"{category}: {came}; data-set version {found['dataset_version']} has {found['normals']} normal images"
    if found["outcome"] == "failed":
        return f"{category}: the retrain ended early: {found['reasons'][0]}"
    bank = f"{category}: bank version {found['bank_version']} from data-set version {found['dataset_version']}"
    now_there = found["production"]
    stays = f"production stays version {now_there}" if now_there else "nothing is in production"
    return {
        "promoted": f"{bank} is in production",
        "proposed": f"{bank} passed the gate and waits for another person's approval; {stays}",
        "refused": f"{bank} did not pass the gate; {stays}",
        "unchanged": f"{bank} was built from nothing once more, to the same bytes; {stays}",
    }[found["outcome"]]


def details(event: Event) -> list[str]:
    """Return a line, in Markdown, for each reason of what was done, and for each image that went to quarantine."""
    quarantined = [f"`{each['path']}`: {each['reason']}" for each in event.summary.get("quarantined", ())]
    return [*event.summary.get("reasons", ()), *quarantined]


def _is_unrecorded(services: Services, category: str, version: int, decisions: Sequence[Decision]) -> bool:
    """Say whether no retrain recorded a bank yet, or none since it was decided on again because its images are back."""
    told = [
        event for event in services.ledger.events(category, RETRAIN) if event.summary.get("bank_version") == version
    ]
    present = services.ledger.present_dataset(category)
    since = present.since if present else 0
    anew = bool(decisions) and decisions[-1].sequence > since
    return not told or (anew and told[-1].sequence < since)


def _recorded_last(services: Services, category: str) -> int:
    """Return the number of the data-set version that the last ingest or withdrawal left behind."""
    numbers = [event.summary.get("dataset_version") for event in _changes(services, category)]
    return next((int(number) for number in reversed(numbers) if number is not None), 1)


def _changes(services: Services, category: str) -> list[Event]:
    """Return the records of everything that changed the normal images or the quarantine."""
    return [event for event in services.ledger.events(category) if event.action in {INGEST, WITHDRAW}]


def _note(path: Path) -> dict[str, str]:
    """Return what a note in quarantine says; people go there, and may have changed it."""
    try:
        note = read_json(path)
        return {key: str(note[key]) for key in ("source", "reason", "sha256")}
    except (ValueError, KeyError, TypeError):
        return {"source": path.name.removesuffix(NOTE), "reason": "the note was changed", "sha256": ""}


def _new_normals(services: Services, category: str, before: int, after: int) -> int:
    """Return how many normal images a data-set version has that the one before it had not, by their content."""
    then, since = services.ledger.members(category, before), services.ledger.members(category, after)
    return len({each.sha256 for each in since if each.part == "train"} - {each.sha256 for each in then})
