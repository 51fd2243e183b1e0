"""Checking that the record of a batch, the records of its images, and its files agree."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from patchcore.adapters.ledger.records import ImageScore, RecordedBatch, images_digest
from patchcore.images.decoding import list_images
from patchcore.lifecycle.audit.results import CompletenessAnswer, FileProblem
from patchcore.lifecycle.batch_inputs import Received, receive
from patchcore.lifecycle.batch_lookup import require_batch
from patchcore.lifecycle.services import Services

_Problem = tuple[str | None, str]
"""The path of a file, None for the whole batch, and the problem."""


def completeness(
    services: Services, batch: str, scoring: int | None = None, folder: Path | None = None
) -> CompletenessAnswer:
    """Check that every image of a batch is recorded, and that its files are those that were recorded.

    Args:
        services: The opened workspace.
        batch: The name of the batch.
        scoring: The number of the scoring; None: the last one.
        folder: The folder of its files; None: the folder that was scored.

    Raises:
        UnknownBatch: There is no such batch or scoring.
        InvalidArchive: Its images are in an archive that is not here.
        NoImages: The folder has no files.
    """
    found = require_batch(services, batch, scoring)
    record = found.record
    place = folder or _folder(services, found.images)
    # A folder that the user names must have files; the folder that was scored may be empty now.
    files = receive(services.workspace, place) if place and (folder or list_images(place)) else []
    contradictions = list(_contradictions(found))
    about_files = list(_differences(found.images, files, place)) if place else _uncompared(found.images)
    problems = [*((None, words) for words in contradictions), *about_files]
    return CompletenessAnswer(
        batch=batch,
        scoring=record.scoring,
        category=record.category,
        complete=not problems,
        recorded_completely=not contradictions,
        received=record.received,
        scored=record.scored,
        failed=record.failed,
        images=len(found.images),
        images_sha256=record.images_sha256,
        folder=_shown(services, place) if place else None,
        files=len(files) if place else None,
        problems=tuple(FileProblem(path=path, problem=words) for path, words in problems),
    )


def _shown(services: Services, place: Path) -> str:
    root = services.workspace.root
    return services.workspace.relative(place) if place.is_relative_to(root) else str(place)


def _contradictions(batch: RecordedBatch) -> Iterator[str]:
    """Yield the contradictions between the record of a batch and those of its images."""
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
    """Return the problem that the files are gone; a batch without images has none."""
    return [(None, "its files were not compared: their folder is gone")] if images else []


def _folder(services: Services, images: Sequence[ImageScore]) -> Path | None:
    """Return the folder that the images were in; None if it is gone."""
    folder = services.workspace.root / _common_folder(images)  # a path outside the workspace is absolute
    return folder if images and folder.is_dir() else None


def _common_folder(images: Sequence[ImageScore]) -> PurePosixPath:
    """Return the deepest folder that contains all images, as recorded."""
    folders = {PurePosixPath(image.path).parent for image in images}
    common = min(folders, default=PurePosixPath())
    while not all(folder.is_relative_to(common) for folder in folders):
        common = common.parent
    return common


def _differences(images: Sequence[ImageScore], files: Sequence[Received], folder: Path) -> Iterator[_Problem]:
    """Yield the differences between recorded images and files, by the paths below their folders."""
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

    That folder is the common folder of all images or one above it: the one with the most paths in the present folder.
    """
    common = _common_folder(images)
    above = [f"{folder.as_posix().rstrip('/')}/" for folder in (common, *common.parents)]
    candidates = [{image.path.removeprefix(start): image.sha256 for image in images} for start in above]
    return max(candidates, key=lambda candidate: len(candidate.keys() & present))  # the first of equal ones


def _text(path: Path) -> str:
    """Return a path as it is recorded: bytes that are not UTF-8 are escaped."""
    return os.fsencode(path.as_posix()).decode("utf-8", errors="backslashreplace")
