"""Batches as they were recorded, with their images, and one image of them by any of its names."""

from dataclasses import replace
from pathlib import PurePosixPath

from patchcore.adapters.ledger.records import ImageScore, RecordedBatch
from patchcore.errors import Refused
from patchcore.lifecycle.archived_images import images_of_batch
from patchcore.lifecycle.services import Services


def find_batch(services: Services, batch: str, scoring: int | None = None) -> RecordedBatch | None:
    """Return a batch as it was scored last, or in the scoring of that number; None where it was not.

    Images that the ledger no longer holds come from their archive; there are none where that is not at hand.
    """
    found = services.ledger.batch(batch, scoring)
    if found is None or not found.archived or found.sequence is None:
        return found
    return replace(found, images=tuple(images_of_batch(services, found.sequence)))


def require_batch(services: Services, batch: str, scoring: int | None = None) -> RecordedBatch:
    """Return a batch with its images; see `find_batch`.

    Raises:
        Refused: it was not scored, or not so often, or its images lie in an archive that is not at hand.
    """
    found = find_batch(services, batch, scoring)
    which = f"batch {batch!r}" if scoring is None else f"scoring {scoring} of batch {batch!r}"
    if found is None:
        raise Refused(
            f"no {which} in the ledger",
            got=f"{len(services.ledger.scorings(batch))} scorings of it",
            expected="a batch that was scored",
            remedy="check the name",
        )
    if len(found.images) != found.record.received:
        raise Refused(
            f"the images of {which} are not at hand",
            got=f"{len(found.images)} of {found.record.received}, the others in an archive that is not here",
            expected="all of them",
            remedy=f"bring the archive back to {services.workspace.archives}",
        )
    return found


def require_image(batch: RecordedBatch, image: str) -> ImageScore:
    """Return an image of a batch by its path as recorded, its file name, or its sha256.

    Raises:
        Refused: there is none of that name, or more than one.
    """
    exact = [row for row in batch.images if row.path == image]
    named = [row for row in batch.images if PurePosixPath(row.path).name == image or row.sha256 == image.lower()]
    found = exact or named
    if len(found) == 1:
        return found[0]
    raise Refused(
        f"{image} names no image of batch {batch.record.batch}" if not found else f"{image} names several images",
        got=", ".join(row.path for row in found[:5]) or repr(image),
        expected="the path as recorded, a file name that the batch has once, or a sha256 that it has once",
        remedy=f"look at them with: patchcore audit batch {batch.record.batch} --json",
    )
