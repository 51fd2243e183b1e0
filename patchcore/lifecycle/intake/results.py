"""What ingest and withdraw return: the JSON of the commands, and what their tables show."""

from dataclasses import dataclass

from patchcore._util.model import Model
from patchcore.lifecycle.anchor_result import AnchorResult


class TakenImage(Model):
    """A new normal image.

    Attributes:
        path: Where it is now, below the workspace.
        sha256: Of its content.
        source: Where it came from.
    """

    path: str
    sha256: str
    source: str


class RejectedImage(Model):
    """An image that ingest put in quarantine.

    Attributes:
        path: Where it is now, below the workspace.
        source: Where it came from.
        reason: Why it was rejected.
    """

    path: str
    source: str
    reason: str


class KnownImage(Model):
    """An image that an earlier ingest took under the same name; nothing was done.

    Attributes:
        path: Where it is, below the workspace.
        sha256: Of its content.
        source: The file that has the same content.
    """

    path: str
    sha256: str
    source: str


class SkippedFile(Model):
    """Something that stays where it is because it is not a file.

    Attributes:
        source: Where it is.
        reason: Why it was skipped.
    """

    source: str
    reason: str


@dataclass(frozen=True)
class IngestResult:
    """What ingest did with each file of a folder.

    Attributes:
        taken: New normal images.
        quarantined: Images that failed a check.
        known: Images that an earlier ingest took.
        waiting: Files that stay where they are because they changed meanwhile, or are locked.
        skipped: What is not a file.
    """

    taken: tuple[TakenImage, ...] = ()
    quarantined: tuple[RejectedImage, ...] = ()
    known: tuple[KnownImage, ...] = ()
    waiting: tuple[str, ...] = ()
    skipped: tuple[SkippedFile, ...] = ()


class IngestReport(Model):
    """The result of ``patchcore ingest``.

    Attributes:
        category: The category.
        taken: New normal images.
        quarantined: Images that failed a check.
        known: Images that an earlier ingest took.
        waiting: How many files stay in the drop folder because a program is writing them.
        skipped: What is not a file.
        dataset_version: The data-set version of the category now.
        dataset_sha256: Of that data-set version.
        normals: How many normal images it has.
        anchored: Where the state of the ledger was written.
    """

    category: str
    taken: tuple[TakenImage, ...]
    quarantined: tuple[RejectedImage, ...]
    known: tuple[KnownImage, ...]
    waiting: int
    skipped: tuple[SkippedFile, ...]
    dataset_version: int
    dataset_sha256: str
    normals: int
    anchored: AnchorResult


class WithdrawalReport(Model):
    """The result of ``patchcore withdraw``.

    Attributes:
        category: The category.
        path: Where the image was, below the workspace.
        sha256: Of the image.
        quarantined: Where it is now, below the workspace.
        reason: Why it was withdrawn.
        dataset_version: The data-set version of the category now.
        dataset_sha256: Of that data-set version.
        normals: How many normal images it has.
        anchored: Where the state of the ledger was written.
    """

    category: str
    path: str
    sha256: str
    quarantined: str
    reason: str
    dataset_version: int
    dataset_sha256: str
    normals: int
    anchored: AnchorResult
