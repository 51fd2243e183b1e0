"""Take new normal images: the good ones join train/good, the others go to quarantine with the reason.

A kill at any point loses nothing, and there is no journal. A file is written whole beside its place and renamed; only
then is its source in the drop folder removed. Before that, the source is renamed to a hidden claim, so that the next
run can tell a file that was taken already (claimed, and its content in place) from a copy of an image that was dropped
again. A file that goes to quarantine is renamed, not copied: a program that is still writing it continues there.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from patchcore._util import files
from patchcore._util.progress import progress
from patchcore.config.params import Params
from patchcore.config.workspace import Workspace
from patchcore.dataset.digests import FileDigests
from patchcore.dataset.manifest import scan
from patchcore.errors import CannotWrite
from patchcore.images.facts import describe_all
from patchcore.lifecycle.events import NOTE
from patchcore.lifecycle.intake.candidates import check_new_images, is_drop_folder
from patchcore.lifecycle.intake.file_stability import Stamp, is_unfinished, look_again
from patchcore.lifecycle.intake.placement import (
    claim_file,
    claims,
    free_place,
    move_file,
    remove_staged,
    return_claim,
    source_of,
    write_whole,
)
from patchcore.lifecycle.intake.results import IngestResult, KnownImage, RejectedImage, SkippedFile, TakenImage
from patchcore.lifecycle.intake.screening import LONGEST_NAME, Candidate, readable, reasons_against
from patchcore.steps.validate import Subject, examine

_YOUNG, _PAUSE = 2.0, 1.0  # seconds: a file that changed less long ago may be incomplete; between two looks at it


def ingest(
    workspace: Workspace,
    category: str,
    folder: Path,
    params: Params,
    *,
    settle: float | None = None,
    withdrawn: Mapping[str, str] | None = None,
    digests: FileDigests | None = None,
) -> IngestResult:
    """Take the good images of a folder into a category's normals, and quarantine the others.

    The checks are those of the validate step. Files below the category's own drop folder are moved, files elsewhere
    are copied. After a crash, the next run continues where this one stopped and takes nothing twice. A file of the drop
    folder that a program is still writing, keeps locked, or has given a temporary name, stays where it is and waits
    for the next run. Each image is read at most twice: to describe it, and to copy it.

    Args:
        workspace: The workspace, which no other command changes meanwhile.
        category: The category.
        folder: Any folder; every visible file below it is a candidate.
        params: The workspace's parameters.
        settle: Seconds during which files of the drop folder must not change. None, for a command with a person
            waiting: only files that changed a moment ago are watched, for one second.
        withdrawn: Why an image is not taken again, by the sha256 of its content.
        digests: What is known of the workspace's files already.

    Raises:
        UnknownCategory: The category is unknown.
        NoImages: The category is incomplete; or the folder does not exist or is empty, and is not the drop folder.
        UnreadableImage: A file cannot be read.
        CannotWrite: A file cannot be read, written or removed.
        Fault: Great Expectations fails.
    """
    params.require(category)
    intake = _Intake(workspace, category, folder.resolve(), digests or FileDigests())
    try:
        intake.recover()
        candidates = intake.describe_new(intake.settled(intake.list_files(), settle))
        if candidates:
            reasons = reasons_against(intake.describe_present(), candidates, params.validate_, withdrawn or {})
            for candidate in candidates:
                reason = reasons.get(candidate.source)
                intake.reject(candidate, reason) if reason else intake.take(candidate)
    except OSError as error:
        raise CannotWrite(
            f"{error.filename or folder}: ingest stopped",
            got=error.strerror or str(error),
            expected="files that can be read, written and removed",
            remedy="correct that and run ingest again: it goes on where it stopped",
        ) from error
    return intake.result()


class _Intake:
    """The changes on disk; each step leaves the files so that `recover` and another run finish the work."""

    def __init__(self, workspace: Workspace, category: str, folder: Path, digests: FileDigests) -> None:
        self.workspace, self.category, self.folder, self.digests = workspace, category, folder, digests
        self.normals, self.quarantine = workspace.good_normals(category), workspace.quarantine(category)
        self.moves = is_drop_folder(workspace, category, folder)
        self.taken: list[TakenImage] = []
        self.quarantined: list[RejectedImage] = []
        self.known: list[KnownImage] = []
        self.waiting: list[str] = []
        self.skipped: list[SkippedFile] = []

    def result(self) -> IngestResult:
        """Return what was done so far."""
        return IngestResult(
            tuple(self.taken), tuple(self.quarantined), tuple(self.known), tuple(self.waiting), tuple(self.skipped)
        )

    def recover(self) -> None:
        """Finish or undo what a killed run began."""
        remove_staged((self.normals, self.quarantine))
        for claim in claims(self.folder) if self.moves else ():
            source, sha256 = source_of(claim), self.digests.of(claim)
            place = free_place(self.normals, source.name, sha256, self.digests)
            if place.exists():
                claim.unlink()
                self._note_taken(self._text(source), place, sha256)
            else:
                return_claim(claim, sha256, self.digests)

    def list_files(self) -> tuple[Path, ...]:
        """Return the files of the folder; what is neither a file nor a folder of its own is skipped."""
        listing = check_new_images(self.workspace, self.category, self.folder)
        self.skipped += [SkippedFile(source=self._text(each.path), reason=each.reason) for each in listing.skipped]
        return listing.files

    def settled(self, found: Sequence[Path], settle: float | None) -> Sequence[Path]:
        """Return the files that no program is writing; files outside the drop folder are only copied, so all."""
        if not (self.moves and found):
            return found
        first = {file: _look(file) for file in found if not is_unfinished(file.name)}
        limit = time.time_ns() - int(_YOUNG * 1e9)
        young = any(look is not None and look.modified > limit for look in first.values())
        time.sleep(settle if settle is not None else _PAUSE if young else 0.0)
        second = {file: _look(file) for file in first} if young or settle is not None else first
        ready = {file for file, look in second.items() if look is not None and look == first[file]}
        self.waiting += [self._text(file) for file in found if file not in ready]
        return [file for file in found if file in ready]

    def describe_present(self) -> list[Subject]:
        """Describe what the category holds already."""
        manifest = scan(self.workspace, self.category, self.digests)
        masks = sum(entry.mask is not None for entry in manifest.evaluation)
        with progress("ingest: reading the data set", len(manifest.normals + manifest.evaluation) + masks) as advance:
            return examine(self.workspace, manifest, advance)

    def describe_new(self, found: Sequence[Path]) -> list[Candidate]:
        """Describe the files of the folder; those that an earlier run took are set aside as known."""
        with progress("ingest: reading new images", len(found)) as advance:
            described = describe_all(found, advance)
        candidates = []
        for file, facts in zip(found, described, strict=True):
            place = free_place(self.normals, file.name, facts.sha256, self.digests)
            if place.exists() and not self.moves:
                path = self.workspace.relative(place)
                self.known.append(KnownImage(path=path, sha256=facts.sha256, source=self._text(file)))
            else:
                candidates.append(Candidate(file, self._text(file), facts))
        return candidates

    def take(self, candidate: Candidate) -> None:
        """Put a good image among the normals."""
        file = claim_file(candidate.file) if self.moves else candidate.file
        if (content := self._described_content(file, candidate)) is None:
            return
        sha256 = candidate.facts.sha256
        place = free_place(self.normals, candidate.file.name, sha256, self.digests)
        write_whole(place, content)
        self.digests.remember(place, sha256)
        if self.moves:
            file.unlink()
        self._note_taken(candidate.source, place, sha256)

    def reject(self, candidate: Candidate, reason: str) -> None:
        """Put any other file into quarantine, with a note of the reason."""
        if (content := self._described_content(candidate.file, candidate)) is None:
            return
        sha256 = candidate.facts.sha256
        name = readable(candidate.file.name).encode()[-LONGEST_NAME:].decode(errors="ignore")
        place = free_place(self.quarantine, f"{sha256[:12]}-{name}", sha256, self.digests)
        note = place.with_name(f"{place.name}{NOTE}")
        if not note.exists():  # keep the first reason: those of later copies are less useful
            write_whole(note, files.canonical_json({"source": candidate.source, "reason": reason, "sha256": sha256}))
        if not (self.moves and move_file(candidate.file, place)):
            write_whole(place, content)
            if self.moves:
                candidate.file.unlink()
        path = self.workspace.relative(place)
        self.quarantined.append(RejectedImage(path=path, source=candidate.source, reason=reason))

    def _note_taken(self, source: str, place: Path, sha256: str) -> None:
        self.taken.append(TakenImage(path=self.workspace.relative(place), sha256=sha256, source=source))

    def _described_content(self, file: Path, candidate: Candidate) -> bytes | None:
        """Return the bytes that were described; None, and the file waits, if it holds other bytes now."""
        content = file.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 == candidate.facts.sha256:
            return content
        if file != candidate.file:
            return_claim(file, sha256, self.digests)
        self.waiting.append(candidate.source)
        return None

    def _text(self, file: Path) -> str:
        root = self.workspace.root.resolve()
        return readable((file.relative_to(root) if file.is_relative_to(root) else file).as_posix())


def _look(file: Path) -> Stamp | None:
    """Return what changes when a file does; None if it is gone, or its writer keeps it locked."""
    return look_again(file.parent, file.name)
