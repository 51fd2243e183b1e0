"""The git commits that keep a category's pointers to images, and the reports of its bank."""

import json
from collections.abc import Sequence
from pathlib import Path

from patchcore.dataset.manifest import scan
from patchcore.lifecycle.events import unrecorded_quarantine
from patchcore.lifecycle.services import Services

_NAMES_SHOWN = 10


def commit_images(services: Services, category: str) -> str | None:
    """Commit the pointers of a category's images and their order of arrival, with a message that names new images.

    Do nothing if params.yaml turns commits off.

    Raises:
        NoImages: The category has no images.
        Refused: Git declines, for example during a merge.
    """
    if not services.params.versioning.commit:
        return None
    workspace = services.workspace
    manifest = scan(workspace, category, services.digests)
    committed = _committed_normals(services, category)
    present = {entry.sha256 for entry in manifest.normals}
    message = ingest_message(
        category,
        version=services.ledger.number_for(category, manifest.sha256),
        normals=len(present),
        new=[Path(entry.path).name for entry in manifest.normals if entry.sha256 not in committed],
        gone=len(committed - present),
        quarantined=[f"{Path(each.source).name} ({each.reason})" for each in unrecorded_quarantine(services, category)],
    )
    return services.versioning.commit([workspace.arrivals(category), *workspace.pointers(category)], message)


def commit_reports(services: Services, category: str) -> str | None:
    """Commit the reports that `dvc repro` wrote, with the parameters and pointers that they follow from.

    Do nothing if params.yaml turns commits off.
    """
    workspace = services.workspace
    if not services.params.versioning.commit:
        return None
    data = [workspace.arrivals(category), *workspace.pointers(category)]
    made_from = [workspace.params, workspace.pipeline, *data]
    paths = [*made_from, workspace.lock_file, workspace.reports(category)]
    return services.versioning.commit(paths, f"Build the bank of {category}")


def ingest_message(
    category: str, *, version: int, normals: int, new: Sequence[str], gone: int, quarantined: Sequence[str]
) -> str:
    """Return the message of the git commit of a data-set version: a summary, and the first names of new images."""
    came = _images(len(new), "new ") if new else _images(normals, "")
    subject = f"{'Ingest' if new else 'Track the images of'} {category}: {came} (data-set version {version})"
    subject += f", {gone} gone" if gone else ""
    subject += f", {len(quarantined)} in quarantine" if quarantined else ""
    lists = (("New", new), ("In quarantine", quarantined))
    return "\n\n".join([subject, *(f"{title}:\n{_first(names)}" for title, names in lists if names)])


def _committed_normals(services: Services, category: str) -> set[str]:
    """Return the sha256 of the normal images in the last commit; empty if its file was edited and cannot be read."""
    text = services.versioning.committed_text(services.workspace.arrivals(category))
    try:
        return {str(sha256) for group in json.loads(text or "{}").get("groups", ()) for sha256 in group}
    except (ValueError, TypeError, AttributeError):
        return set()


def _images(count: int, kind: str) -> str:
    return f"1 {kind}normal image" if count == 1 else f"{count} {kind}normal images"


def _first(names: Sequence[str]) -> str:
    shown = [" ".join(name.split()) for name in names[:_NAMES_SHOWN]]
    return "\n".join(shown + ([f"and {len(names) - len(shown)} more"] if len(names) > len(shown) else []))
