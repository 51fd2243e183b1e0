"""Recorded batches with their images, and one image of a batch by any of its names."""

from dataclasses import replace
from pathlib import PurePosixPath

from patchcore.adapters.ledger.records import ImageScore, RecordedBatch
from patchcore.errors import BatchIncomplete, UnknownBatch, UnknownImage
from patchcore.lifecycle.archived_images import images_of_batch
from patchcore.lifecycle.services import Services


def find_batch(services: Services, batch: str, scoring: int | None = None) -> RecordedBatch | None:
    """Return a scoring of a batch with its images, or None if there is none.

    Images that were moved out of the ledger are read from their archive. If the archive is not here, the batch is
    returned without images.

    Args:
        services: The opened workspace.
        batch: The name of the batch.
        scoring: Which scoring of the batch; None: the last.
    """
    found = services.ledger.batch(batch, scoring)
    if found is None or not found.archived or found.sequence is None:
        return found
    return replace(found, images=tuple(images_of_batch(services, found.sequence)))


def require_batch(services: Services, batch: str, scoring: int | None = None) -> RecordedBatch:
    """Return a scoring of a batch with all its images; see `find_batch`.

    Raises:
        UnknownBatch: There is no such batch or scoring.
        BatchIncomplete: Its images are in an archive that is not here.
    """
    found = find_batch(services, batch, scoring)
    which = f"batch {batch!r}" if scoring is None else f"scoring {scoring} of batch {batch!r}"
    if found is None:
        raise UnknownBatch(
            f"no {which} in the ledger",
            got=f"{len(services.ledger.scorings(batch))} scorings of it",
            expected="a batch that was scored",
            remedy="check the name",
        )
    if len(found.images) != found.record.received:
        raise BatchIncomplete(
            f"the images of {which} are not available",
            got=f"{len(found.images)} of {found.record.received}; the others are in an archive that is not here",
            expected="all of them",
            remedy=f"copy the archive back to {services.workspace.archives}",
        )
    return found


def require_image(batch: RecordedBatch, image: str) -> ImageScore:
    """Return an image of a batch by its path as recorded, its file name, or its sha256.

    Raises:
        UnknownImage: No image of the batch, or several, have that name.
    """
    exact = [row for row in batch.images if row.path == image]
    named = [row for row in batch.images if PurePosixPath(row.path).name == image or row.sha256 == image.lower()]
    found = exact or named
    if len(found) == 1:
        return found[0]
    raise UnknownImage(
        f"{image} names {'several images' if found else 'no image'} of batch {batch.record.batch}",
        got=", ".join(row.path for row in found[:5]) or repr(image),
        expected="the path as recorded, or a file name or sha256 that only one image of the batch has",
        remedy=f"list the images with: patchcore audit batch {batch.record.batch} --json",
    )
