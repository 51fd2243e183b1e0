"""A normal image that turned out not to be one: out of the data set into quarantine, with the reason."""

from dataclasses import dataclass
from pathlib import Path

from patchcore.adapters.ledger.records import DatasetVersion, Event
from patchcore.errors import Refused
from patchcore.files import canonical_json, sha256_of, sync, write_bytes
from patchcore.layout import Workspace
from patchcore.lifecycle.happenings import NOTE, WITHDRAW
from patchcore.lifecycle.production.registration import commit_images, note_arrivals, record_dataset
from patchcore.lifecycle.services import Services, who
from patchcore.manifest import ImageEntry, normal_images


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
        Refused: There is no such normal image, or it is the last one.
        Fault: A file or the ledger cannot be written.
    """
    services.params.require(category)
    workspace = services.workspace
    sha256, path, place = _find(workspace, category, image)
    note = place.with_name(place.name + NOTE)
    if not note.exists():  # the note first: what lies in quarantine always has one
        write_bytes(note, canonical_json({"source": path, "reason": f"withdrawn: {reason}", "sha256": sha256}))
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
    known = [event for event in services.ledger.events(category, WITHDRAW) if event.summary == summary]
    event = known[-1] if known else services.ledger.record_event(category, WITHDRAW, summary, who=who())
    return Withdrawn(path, sha256, workspace.relative(place), dataset, event)


def _find(workspace: Workspace, category: str, image: str) -> tuple[str, str, Path]:
    """Return content, path and place in quarantine of an image among the normals, or of one that a crash left moved."""
    normals = normal_images(workspace, category)
    file = Path(image)
    sha256 = sha256_of(file) if file.is_file() else image.lower()
    found = [entry for entry in normals if entry.sha256 == sha256 or image in {entry.path, Path(entry.path).name}]
    if len(found) == 1 and len(normals) > 1:
        return found[0].sha256, found[0].path, _place(workspace, category, found[0])
    for note in workspace.quarantine(category).glob(f"*{NOTE}"):
        place = note.with_name(note.name.removesuffix(NOTE))
        if not found and place.is_file() and (digest := sha256_of(place)).startswith(place.name[:12]):
            entry = ImageEntry(workspace.relative(workspace.good_normals(category) / place.name[13:]), digest)
            if digest == sha256 or image in {entry.path, Path(entry.path).name}:
                return digest, entry.path, place
    got = f"{len(found)} of {len(normals)} normal images"
    raise Refused(
        f"{image} is not withdrawn from {category}",
        got=got,
        expected="the path, the file name or the sha256 of one normal image, and another one that stays",
        remedy=f"look at data/{category}/train/good",
    )


def _place(workspace: Workspace, category: str, entry: ImageEntry) -> Path:
    return workspace.quarantine(category) / f"{entry.sha256[:12]}-{Path(entry.path).name}"
