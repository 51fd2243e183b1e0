"""Whether nothing of a batch was lost: its record, the records of its images, and its files agree."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from patchcore.adapters.ledger.records import ImageScore, RecordedBatch, images_digest
from patchcore.images.decoding import list_images
from patchcore.lifecycle.batch_inputs import Received, receive
from patchcore.lifecycle.batch_lookup import require_batch
from patchcore.lifecycle.services import Services

_Problem = tuple[str | None, str]
"""The path that a problem is about, None where it is about the batch, and what it is."""


def completeness(
    services: Services, batch: str, scoring: int | None = None, folder: Path | None = None
) -> dict[str, Any]:
    """Find out whether every image of a batch was recorded, and whether what lies in its folder is what was recorded.

    Args:
        services: The opened workspace.
        batch: The batch's name.
        scoring: Which of its scorings; None: the last.
        folder: Where its files are now; None: where they were.

    Returns:
        ``complete``: nothing is missing, neither a record nor a file; ``recorded_completely``: no record is; and
        ``problems``, each with the path that it is about (None: about the batch). ``folder`` and the number of
        ``files`` in it are None where there is no folder to look at: then nobody knows of the files, and the batch is
        not ``complete``.

    Raises:
        Refused: There is no such batch, its images lie in an archive that is not here, or the folder has no files.
    """
    found = require_batch(services, batch, scoring)
    record = found.record
    place = folder or _folder(services, found.images)
    # A folder that is named must have files; one that was emptied since has lost them all.
    files = receive(services.workspace, place) if place and (folder or list_images(place)) else []
    contradictions = list(_contradictions(found))
    about_files = list(_differences(found.images, files, place)) if place else _uncompared(found.images)
    problems = [*((None, words) for words in contradictions), *about_files]
    return {
        "batch": batch,
        "scoring": record.scoring,
        "category": record.category,
        "complete": not problems,
        "recorded_completely": not contradictions,
        "received": record.received,
        "scored": record.scored,
        "failed": record.failed,
        "images": len(found.images),
        "images_sha256": record.images_sha256,
        "folder": _shown(services, place) if place else None,
        "files": len(files) if place else None,
        "problems": [{"path": path, "problem": words} for path, words in problems],
    }


def _shown(services: Services, place: Path) -> str:
    root = services.workspace.root
    return services.workspace.relative(place) if place.is_relative_to(root) else str(place)


def _contradictions(batch: RecordedBatch) -> Iterator[str]:
    """Say where the record of a batch and those of its images contradict each other."""
    record, images = batch.record, batch.images
    failed = sum(image.score is None for image in images)
    if record.received != record.scored + record.failed:
        yield f"{record.received} received, but {record.scored} scored and {record.failed} failed"
    counted = (len(images), len(images) - failed, failed)
    if counted != (record.received, record.scored, record.failed):
        yield f"the record counts {record.received} images, {record.failed} failed; there are {len(images)}, {failed}"
    if images_digest((image.path, image.sha256) for image in images) != record.images_sha256:
        yield "the digest of the images is not the one that was recorded"


def _uncompared(images: Sequence[ImageScore]) -> list[_Problem]:
    """Say that a batch's files are not to be had; one without images has none to lose."""
    return [(None, "its files were not compared: their folder is gone")] if images else []


def _folder(services: Services, images: Sequence[ImageScore]) -> Path | None:
    """Return the folder that the images were in, if it is there still."""
    folder = services.workspace.root / _common_folder(images)  # one outside the workspace is recorded in full
    return folder if images and folder.is_dir() else None


def _common_folder(images: Sequence[ImageScore]) -> PurePosixPath:
    """Return the deepest folder that has all the images below it, as it was recorded."""
    folders = {PurePosixPath(image.path).parent for image in images}
    common = min(folders, default=PurePosixPath())
    while not all(folder.is_relative_to(common) for folder in folders):
        common = common.parent
    return common


def _differences(images: Sequence[ImageScore], files: Sequence[Received], folder: Path) -> Iterator[_Problem]:
    """Say which recorded images and files are not the same, by the paths below their folders."""
    present = {_text(file.file.relative_to(folder)): file.sha256 for file in files}
    recorded = _below(images, set(present))
    for path in sorted(recorded.keys() | present.keys()):
        if path not in present:
            yield path, "recorded, but not in the folder"
        elif path not in recorded:
            yield path, "in the folder, but not recorded"
        elif recorded[path] != present[path]:
            yield path, f"sha256 {present[path]} instead of {recorded[path]}"


def _below(images: Sequence[ImageScore], present: set[str]) -> dict[str, str | None]:
    """Return the recorded digests by the paths below the folder that was scored, wherever its files are now.

    That folder is the common one of all images, or one above it; the one whose paths are found in the present folder.
    """
    common = _common_folder(images)
    above = [f"{folder.as_posix().rstrip('/')}/" for folder in (common, *common.parents)]
    candidates = [{image.path.removeprefix(start): image.sha256 for image in images} for start in above]
    return max(candidates, key=lambda candidate: len(candidate.keys() & present))  # of equal ones, the first


def _text(path: Path) -> str:
    """Return a path as it is recorded: of a name that is not UTF-8 the odd bytes are written out."""
    return os.fsencode(path.as_posix()).decode("utf-8", errors="backslashreplace")
