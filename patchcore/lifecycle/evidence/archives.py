"""Images that moved out of the ledger: into files that the chain goes on to vouch for, and back to who asks for them.

Batches, promotions and all else stay in the ledger for good; their images are most of its bytes.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from patchcore import chain
from patchcore.adapters.ledger.exports import columns_of
from patchcore.adapters.ledger.records import Archive, ImageScore, utc_text
from patchcore.exported_tables import read_table, write_table
from patchcore.files import new_folder, sha256_of
from patchcore.lifecycle.services import Services, who

_FILE = "images.parquet"

AtHand = dict[tuple[int, int], Iterable[tuple[int, bytes]]]
"""Sequence and content digest of the images of archives, by their first and last sequence."""


def archive(services: Services, before: datetime) -> Archive | None:
    """Move the images of batches that were recorded before a time out of the ledger, into a file.

    After a crash the same call does what was left undone.

    Args:
        services: The opened workspace.
        before: The first batch that was recorded then or later stays, and all after it.

    Returns:
        What was archived; None where there was nothing.

    Raises:
        UsageError: The time has no time zone.
        Refused: Somebody else archives at the same moment.
        Fault: The file cannot be written, or this account may not remove anything from the ledger.
    """
    services.ledger.checkpoint()  # names what moves
    with services.ledger.images_before(utc_text(before)) as found:
        if found is None:
            return None
        first, last, table = found
        name = f"images-{first:012}-{last:012}"
        with new_folder(services.workspace.archives / name) as folder:
            count = write_table(folder / _FILE, table.columns, table.rows)
    sha256 = sha256_of(services.workspace.archives / name / _FILE)
    return services.ledger.archive(first, last, count=count, name=name, sha256=sha256, who=who())


def open_archives(services: Services) -> tuple[AtHand, list[str], list[str]]:
    """Return the archives that are at hand for verification, what is wrong with others, and which are not here."""
    at_hand: AtHand = {}
    problems, notes = [], []
    for entry in services.ledger.archives():
        file = _file(services, entry)
        if not file.is_file():
            notes.append(f"archive {entry.name} is not at {file}: its {entry.images} images were not checked")
        elif sha256_of(file) != entry.sha256:
            problems.append(f"archive {entry.name} is not the file that was written: {file}")
        else:
            at_hand[entry.first, entry.last] = _contents(file)
    return at_hand, problems, notes


def images_of(services: Services, scored_batch: int) -> list[ImageScore]:
    """Return the images of a batch from its archive, by their paths; none where the archive is not at hand.

    Args:
        services: The opened workspace.
        scored_batch: The sequence of the batch's record.
    """
    found = (image for _, image in _images(services, ("scored_batch", scored_batch)))
    return sorted(found, key=lambda image: image.path)


def scorings_of(services: Services, sha256: str) -> list[tuple[int, ImageScore]]:
    """Return every archived scoring of an image with the sequence of its batch, as far as archives are at hand."""
    return list(_images(services, ("sha256", sha256)))


def _images(services: Services, where: tuple[str, str | int]) -> Iterator[tuple[int, ImageScore]]:
    columns = columns_of("images")
    for entry in services.ledger.archives():
        if (file := _file(services, entry)).is_file():
            for values in read_table(file, columns, where):
                row = dict(zip(columns, values, strict=True))
                decision = None if row["anomalous"] is None else bool(row["anomalous"])
                image = ImageScore(row["path"], row["sha256"], row["score"], row["p_value"], decision, row["reason"])
                yield row["scored_batch"], image


def _contents(file: Path) -> Iterator[tuple[int, bytes]]:
    columns = columns_of("images")
    names = [name for name in columns if name != "sequence"]
    for sequence, *values in read_table(file, columns):
        yield sequence, chain.digest_of_sorted(names, values)


def _file(services: Services, entry: Archive) -> Path:
    return services.workspace.archives / entry.name / _FILE
