"""A normal image that turned out not to be one: out of the data set into quarantine, with the reason."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchcore._util.files import read_json, sha256_of, sync, write_json
from patchcore.adapters.ledger.records import DatasetVersion, Event
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import ImageEntry, normal_images
from patchcore.errors import Refused
from patchcore.lifecycle.dataset_records import note_arrivals, record_dataset
from patchcore.lifecycle.events import INGEST, NOTE, WITHDRAW
from patchcore.lifecycle.git_commits import commit_images
from patchcore.lifecycle.services import Services, who

_WITHDRAWN = "withdrawn: "  # how the reason in a note of ours begins; no check of an image has such a name


@dataclass(frozen=True)
class Withdrawn:
    """An image that was taken out: where it lay, its content, where it lies now, the data-set version without it."""

    path: str
    sha256: str
    quarantined: str
    dataset: DatasetVersion
    event: Event


def withdraw(services: Services, category: str, image: str, reason: str) -> Withdrawn:
    """Take an image out of a category's normals; the next retrain builds the bank from nothing, without it.

    After a crash the same call does what was left undone.

    Args:
        services: The opened workspace, which nobody else changes meanwhile.
        category: The category.
        image: The image: its path, its file name, or its sha256.
        reason: Why; the ledger and the note in quarantine keep it.

    Raises:
        Refused: There is no such normal image, it is the last one, or it was withdrawn for another reason before.
        Fault: A file or the ledger cannot be written.
    """
    services.params.require(category)
    workspace = services.workspace
    sha256, path, place = _find(workspace, category, image)
    if not (workspace.root / path).exists():
        _require_same_reason(services, category, path, sha256, reason)
    _write_note(place, path, sha256, reason)  # first: what lies in quarantine always has one
    source = workspace.root / path
    if source.exists():
        source.replace(place)
        sync(place.parent)
        sync(source.parent)
    services.versioning.track([workspace.normals(category)])
    note_arrivals(services, category)
    commit_images(services, category)
    dataset = record_dataset(services, category)
    summary = {
        "path": path,
        "sha256": sha256,
        "reason": reason,
        "quarantined": [{"path": workspace.relative(place), "source": path, "reason": reason, "sha256": sha256}],
        "dataset_version": dataset.number,
    }
    event = _recorded(services, category, summary) or services.ledger.record_event(
        category, WITHDRAW, summary, who=who()
    )
    return Withdrawn(path, sha256, workspace.relative(place), dataset, event)


def _require_same_reason(services: Services, category: str, path: str, sha256: str, reason: str) -> None:
    """Refuse to withdraw what is gone once more, for another reason: what was recorded stays what it is."""
    for event in reversed(services.ledger.events(category, WITHDRAW)):
        if (event.summary["path"], event.summary["sha256"]) == (path, sha256):
            if event.summary["reason"] != reason:
                raise Refused(
                    f"{path} is not withdrawn from {category} once more",
                    got=f"withdrawn at {event.at} by {event.who}: {event.summary['reason']}",
                    expected="an image that is among the normals",
                    remedy="nothing is left to do; the record keeps the reason that was given then",
                )
            return


def _write_note(place: Path, path: str, sha256: str, reason: str) -> None:
    """Leave word why an image is withdrawn; why a copy of it was rejected before becomes a field of its own."""
    note = place.with_name(place.name + NOTE)
    found = {"source": path, "reason": _WITHDRAWN + reason, "sha256": sha256}
    before = _note(note)
    if before.get("reason") not in {None, found["reason"]}:
        found["earlier_reason"] = str(before["reason"])
    elif "earlier_reason" in before:
        found["earlier_reason"] = str(before["earlier_reason"])
    if found != before:
        write_json(note, found)


def _note(path: Path) -> Mapping[str, Any]:
    """Return what a note in quarantine says; nothing where there is none, or a person changed it beyond reading."""
    try:
        note = read_json(path)
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}


def _recorded(services: Services, category: str, summary: Mapping[str, Any]) -> Event | None:
    """Return the record of this withdrawal, if it is still so: somebody may have put the image back since."""
    what = ("path", "sha256", "reason")
    known = [
        event
        for event in services.ledger.events(category, WITHDRAW)
        if all(event.summary.get(name) == summary[name] for name in what)
    ]
    present = services.ledger.present_dataset(category)
    if not known or present is None or present.version.number != summary["dataset_version"]:
        return None
    came = [event for event in services.ledger.events(category, INGEST) if event.sequence > known[-1].sequence]
    numbers = {event.summary["dataset_version"] for event in came}
    is_back = any(_has(services, category, number, summary["sha256"]) for number in numbers)
    return None if is_back else known[-1]


def _has(services: Services, category: str, number: int, sha256: str) -> bool:
    return any(member.sha256 == sha256 for member in services.ledger.members(category, number))


def _find(workspace: Workspace, category: str, image: str) -> tuple[str, str, Path]:
    """Return content, path and place in quarantine of an image among the normals, or of one that a crash left moved."""
    normals = normal_images(workspace, category)
    file = Path(image)
    sha256 = sha256_of(file) if file.is_file() else image.lower()
    found = [entry for entry in normals if entry.sha256 == sha256 or image in {entry.path, Path(entry.path).name}]
    if len(found) == 1 and len(normals) > 1:
        return found[0].sha256, found[0].path, _place(workspace, category, found[0])
    for entry, place in _withdrawn_before(workspace, category):
        if not found and (entry.sha256 == sha256 or image in {entry.path, Path(entry.path).name}):
            return entry.sha256, entry.path, place
    raise Refused(
        f"{image} is not withdrawn from {category}",
        got=f"{len(found)} of {len(normals)} normal images",
        expected="the path, the file name or the sha256 of one normal image, and another one that stays",
        remedy=f"look at data/{category}/train/good",
    )


def _withdrawn_before(workspace: Workspace, category: str) -> Iterator[tuple[ImageEntry, Path]]:
    """Yield the images in quarantine that a withdrawal moved there: what ingest rejected never was a normal image."""
    normals = workspace.relative(workspace.good_normals(category)) + "/"
    for path in sorted(workspace.quarantine(category).glob(f"*{NOTE}")):
        note, place = _note(path), path.with_name(path.name.removesuffix(NOTE))
        source, reason, sha256 = (str(note.get(name)) for name in ("source", "reason", "sha256"))
        ours = source.startswith(normals) and reason.startswith(_WITHDRAWN)
        if ours and place.is_file() and sha256_of(place) == sha256:
            yield ImageEntry(source, sha256), place


def _place(workspace: Workspace, category: str, entry: ImageEntry) -> Path:
    return workspace.quarantine(category) / f"{entry.sha256[:12]}-{Path(entry.path).name}"
