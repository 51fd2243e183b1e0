"""Images that the ledger no longer holds: read from the archives they were moved to.

An archive is a Parquet file in the workspace, or elsewhere: its record in the ledger names it by its sha256, and the
hash chain still holds a link for each of its images.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from patchcore._util.files import sha256_of
from patchcore.adapters.ledger.evidence_records import Archive
from patchcore.adapters.ledger.exports import columns_of
from patchcore.adapters.ledger.records import ImageScore
from patchcore.errors import InvalidArchive, Refused
from patchcore.evidence import hash_chain
from patchcore.evidence.export_tables import read_table
from patchcore.lifecycle.services import Services

ARCHIVE_FILE = "images.parquet"
"""The name of the file in an archive's folder."""


def missing_archives(services: Services) -> list[str]:
    """Return the names of the archives whose file is not in the workspace's folder for archives.

    Raises:
        InvalidArchive: The record of an archive holds a name that an archive cannot have.
    """
    return [entry.name for entry in services.ledger.archives() if not _file(services, entry).is_file()]


def content_digests(
    services: Services, entries: Iterable[Archive]
) -> tuple[list[Iterator[tuple[int, bytes]]], list[tuple[int, str]]]:
    """Return the images of each available archive as sequence and content digest, and the problems of archives.

    A problem is the sequence of the archive's record and a sentence. The list of problems is complete when all
    iterators are exhausted.
    """
    found: list[Iterator[tuple[int, bytes]]] = []
    problems: list[tuple[int, str]] = []
    for entry in entries:
        try:
            file = _opened(services, entry)
        except Refused as error:
            problems.append((entry.sequence, str(error)))
        else:
            found += [_contents(file, entry, problems)] if file else []
    return found, problems


def images_of_batch(services: Services, scored_batch: int) -> list[ImageScore]:
    """Return the images of a batch from its archive, sorted by path; none if the archive is not available.

    Args:
        services: The opened workspace.
        scored_batch: The sequence of the batch's record.

    Raises:
        InvalidArchive: An archive is not the file that was written.
    """
    found = (image for _, image in _images(services, ("scored_batch", scored_batch)))
    return sorted(found, key=lambda image: image.path)


def scorings_of_image(services: Services, sha256: str) -> list[tuple[int, ImageScore]]:
    """Return the scorings of an image in the available archives, each with the sequence of its batch.

    Raises:
        InvalidArchive: An archive is not the file that was written.
    """
    return list(_images(services, ("sha256", sha256)))


def anomalous_counts(services: Services, scored_batches: Collection[int]) -> dict[int, int]:
    """Return the number of anomalous images of each batch whose images are in an available archive.

    Args:
        services: The opened workspace.
        scored_batches: The sequences of the batches' records.

    Raises:
        InvalidArchive: An archive is not the file that was written.
    """
    columns, counts = columns_of("images"), dict[int, int]()
    batch_column = list(columns).index("scored_batch")
    for entry in services.ledger.archives():
        # A batch moves as a whole: all its images are in the same archive.
        within = [sequence for sequence in scored_batches if entry.first <= sequence + 1 <= entry.last]
        if within and (file := _opened(services, entry)):
            found = Counter(row[batch_column] for row in read_table(file, columns, ("anomalous", 1)))
            counts |= {sequence: found[sequence] for sequence in within}
    return counts


def archived_rows(services: Services, where: tuple[str, str | int] | None = None) -> Iterator[tuple[Any, ...]]:
    """Yield the records of the images in the available archives in the order of their sequences, as exports hold them.

    Args:
        services: The opened workspace.
        where: A column name and a value: only records with that value.

    Raises:
        InvalidArchive: An archive is not the file that was written.
    """
    for entry in sorted(services.ledger.archives(), key=lambda entry: entry.first):
        if file := _opened(services, entry):
            yield from read_table(file, columns_of("images"), where)


def _images(services: Services, where: tuple[str, str | int]) -> Iterator[tuple[int, ImageScore]]:
    columns = columns_of("images")
    for values in archived_rows(services, where):
        row = dict(zip(columns, values, strict=True))
        decision = None if row["anomalous"] is None else bool(row["anomalous"])
        image = ImageScore(row["path"], row["sha256"], row["score"], row["p_value"], decision, row["reason"])
        yield row["scored_batch"], image


def _contents(file: Path, entry: Archive, problems: list[tuple[int, str]]) -> Iterator[tuple[int, bytes]]:
    """Yield sequence and content digest of the images in one file, up to the first one that cannot be read."""
    columns = columns_of("images")
    names = [name for name in columns if name != "sequence"]
    try:
        for sequence, *values in read_table(file, columns):
            if not isinstance(sequence, int):
                raise ValueError(f"a record with the sequence {sequence!r}")
            yield sequence, _digest(names, values)
    except (Refused, ValueError) as error:
        problems.append((entry.sequence, f"archive {entry.name} cannot be read: {error}"))


def _digest(names: Sequence[str], values: Sequence[object]) -> bytes:
    try:
        return hash_chain.digest_of_sorted(names, values)
    except (ValueError, TypeError):  # not a finite number, or not text: this library never writes that
        return b""


def _opened(services: Services, entry: Archive) -> Path | None:
    """Return the file of an archive; None if it is not available.

    Raises:
        InvalidArchive: It cannot be read, or is not the file that was written.
    """
    try:
        file = _file(services, entry)
        if not file.is_file():
            return None
        found = sha256_of(file)
    except OSError as error:
        raise InvalidArchive(
            f"archive {entry.name} cannot be read",
            got=str(error),
            expected="a file that can be read",
            remedy="check its permissions",
        ) from error
    if found != entry.sha256:
        raise InvalidArchive(
            f"archive {entry.name} is not the file that was written: {file}",
            got=f"sha256 {found}",
            expected=f"sha256 {entry.sha256}",
            remedy="restore the file that was written, or move this one away",
        )
    return file


def _file(services: Services, entry: Archive) -> Path:
    """Return the path of the file of an archive, whether it exists or not.

    Raises:
        InvalidArchive: The name in its record is not a plain name.
    """
    if not re.fullmatch(r"\w[\w.-]{0,199}", entry.name, re.ASCII):
        raise InvalidArchive(
            f"the name of the archive in record {entry.sequence}",
            got=f"{entry.name[:80]!r}",
            expected="the plain name of a folder, such as images-000000000001-000000000009",
            remedy="the record was altered: run patchcore audit verify",
        )
    return services.workspace.archives / entry.name / ARCHIVE_FILE
