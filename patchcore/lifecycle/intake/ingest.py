"""New normal images in: the good ones join train/good, the others go to quarantine with the reason.

Crash-safe without a journal. A file is written whole beside its place and renamed; only then is its source in the
drop folder removed. Before that the source is renamed to a hidden claim, so that the next run can tell a file that
was taken already (claimed, and its content in place) from a copy of an image that somebody dropped again. What goes
to quarantine is renamed, not copied: a writer who goes on after all goes on there.
"""

import errno
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from patchcore._util import files
from patchcore._util.progress import progress
from patchcore.config.params import Params
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import scan
from patchcore.errors import Fault, Refused
from patchcore.images.decoding import describe_all
from patchcore.lifecycle.intake.candidates import Skipped, list_candidates
from patchcore.lifecycle.intake.file_stability import Stamp, is_unfinished, look_again
from patchcore.lifecycle.intake.screening import LONGEST_NAME, Candidate, readable, reasons_against
from patchcore.steps.validate import Subject, examine

_CLAIM, _STAGED = ".patchcore-taking", ".patchcore-staged"  # nobody else ends a name so
_YOUNG, _PAUSE = 2.0, 1.0  # seconds: since its last change a file may be half-written; between two looks at it


@dataclass(frozen=True)
class Taken:
    """A new normal image: where it came from, its path below the workspace, its content."""

    source: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Rejected:
    """An image in quarantine: where it came from, its path below the workspace, and why."""

    source: str
    path: str
    reason: str


@dataclass(frozen=True)
class Known:
    """An image that an earlier run took under its own name: nothing was done."""

    source: str
    path: str
    sha256: str


@dataclass
class IngestResult:
    """What became of each file of the folder; nothing was done with those that wait or were skipped.

    `waiting` are sources that changed meanwhile.
    """

    taken: list[Taken] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def ingest(
    workspace: Workspace,
    category: str,
    folder: Path,
    params: Params,
    *,
    settle: float | None = None,
    withdrawn: Mapping[str, str] | None = None,
) -> IngestResult:
    """Take the good images of a folder into a category's normals, and quarantine the others.

    The rules are those of the validate step. Files below the category's own drop folder are moved, files elsewhere
    are copied. Run again, after a crash too, it goes on where it stopped and takes nothing twice. A file of the drop
    folder that somebody is still writing, or keeps locked, or has not given its name yet, stays where it is and waits
    for the next run.

    Args:
        workspace: what to add to.
        category: the kind of part.
        folder: any folder; every visible file below it is a candidate.
        params: the workspace's parameters.
        settle: seconds for which files of the drop folder are watched, and must not change; None, with a person
            waiting for the result: those that were changed a moment ago, for a moment.
        withdrawn: why the content of that sha256 is not taken again.

    Raises:
        Refused: the category is unknown or incomplete; the folder does not exist or is empty, unless it is the drop
            folder; a file cannot be read.
        Fault: Great Expectations fails, or a file can't be written or removed.
    """
    params.require(category)
    intake = _Intake(workspace, category, folder.resolve())
    try:
        intake.recover()
        found = intake.found()
        if not found and not intake.moves:
            raise _nothing_in(folder, intake.result.skipped)
        if candidates := intake.news(intake.settled(found, settle)):
            reasons = reasons_against(intake.present(), candidates, params.validate_, withdrawn or {})
            for candidate in candidates:
                reason = reasons.get(candidate.source)
                intake.reject(candidate, reason) if reason else intake.take(candidate)
    except OSError as error:
        raise Fault(
            f"{error.filename or folder}: ingest stopped",
            got=error.strerror or str(error),
            expected="files that can be read, written and removed",
            remedy="mend that and run ingest again: it goes on where it stopped",
        ) from error
    return intake.result


def claims(folder: Path) -> list[Path]:
    """Return the files below a drop folder that a killed run was about to take; another run goes on with them."""
    return sorted(folder.rglob(f".*{_CLAIM}"))


class _Intake:
    """What happens to files on disk; each step leaves them so that `recover` and another run finish the work."""

    def __init__(self, workspace: Workspace, category: str, folder: Path) -> None:
        self.workspace, self.category, self.folder = workspace, category, folder
        self.normals, self.quarantine = workspace.good_normals(category), workspace.quarantine(category)
        self.moves = folder.is_relative_to(workspace.drop(category).resolve())
        self.result = IngestResult()

    def recover(self) -> None:
        """Finish or undo what a killed run began."""
        for folder in (self.normals, self.quarantine):
            for path in folder.glob(f".*{_STAGED}*"):
                path.unlink()
        for claim in claims(self.folder) if self.moves else ():
            source = claim.with_name(claim.name[1 : -len(_CLAIM)])
            sha256 = files.sha256_of(claim)
            place = _place(self.normals, source.name, sha256)
            if place.exists():
                claim.unlink()
                self.result.taken.append(Taken(self._text(source), self.workspace.relative(place), sha256))
            else:
                _give_back(claim, source)

    def found(self) -> list[Path]:
        """Return the files of the folder; what is no file, nor a folder of its own, is skipped."""
        found, skipped = list_candidates(self.folder)
        self.result.skipped += [Skipped(self._text(Path(each.source)), each.reason) for each in skipped]
        return found

    def settled(self, found: Sequence[Path], settle: float | None) -> Sequence[Path]:
        """Return the files that nobody is writing; of files elsewhere than in the drop folder, only copies are made."""
        if not (self.moves and found):
            return found
        first = {file: _look(file) for file in found if not is_unfinished(file.name)}
        limit = time.time_ns() - int(_YOUNG * 1e9)
        young = any(look is not None and look.modified > limit for look in first.values())
        time.sleep(settle if settle is not None else _PAUSE if young else 0.0)
        second = {file: _look(file) for file in first} if young or settle is not None else first
        ready = {file for file, look in second.items() if look is not None and look == first[file]}
        self.result.waiting += [self._text(file) for file in found if file not in ready]
        return [file for file in found if file in ready]

    def present(self) -> list[Subject]:
        """Read what the category holds already."""
        manifest = scan(self.workspace, self.category)
        masks = sum(entry.mask is not None for entry in manifest.evaluation)
        with progress("ingest: reading the data set", len(manifest.normals + manifest.evaluation) + masks) as advance:
            return examine(self.workspace, manifest, advance)

    def news(self, found: Sequence[Path]) -> list[Candidate]:
        """Read the files that came; those that an earlier run took are set aside as known."""
        with progress("ingest: reading new images", len(found)) as advance:
            described = describe_all(found, advance)
        candidates = []
        for file, facts in zip(found, described, strict=True):
            place = _place(self.normals, file.name, facts.sha256)
            if place.exists() and not self.moves:
                self.result.known.append(Known(self._text(file), self.workspace.relative(place), facts.sha256))
            else:
                candidates.append(Candidate(file, self._text(file), facts))
        return candidates

    def take(self, candidate: Candidate) -> None:
        """Put a good image among the normals."""
        file = candidate.file
        if self.moves:
            file = file.rename(file.with_name(f".{file.name}{_CLAIM}"))
            files.sync(file.parent)
        if (content := self._examined(file, candidate)) is None:
            return
        place = _place(self.normals, candidate.file.name, candidate.facts.sha256)
        _write(place, content)
        if self.moves:
            file.unlink()
        self.result.taken.append(Taken(candidate.source, self.workspace.relative(place), candidate.facts.sha256))

    def reject(self, candidate: Candidate, reason: str) -> None:
        """Put any other file into quarantine, the reason beside it."""
        if (content := self._examined(candidate.file, candidate)) is None:
            return
        sha256 = candidate.facts.sha256
        name = readable(candidate.file.name).encode()[-LONGEST_NAME:].decode(errors="ignore")
        place = _place(self.quarantine, f"{sha256[:12]}-{name}", sha256)
        note = place.with_name(f"{place.name}.reason.json")
        if not note.exists():  # the first reason stands: of a copy brought again, later ones say less
            _write(note, files.canonical_json({"source": candidate.source, "reason": reason, "sha256": sha256}))
        if not (self.moves and _moved(candidate.file, place)):
            _write(place, content)
            if self.moves:
                candidate.file.unlink()
        self.result.rejected.append(Rejected(candidate.source, self.workspace.relative(place), reason))

    def _examined(self, file: Path, candidate: Candidate) -> bytes | None:
        """Return the bytes that were examined; None, and the file waits, where it holds others by now."""
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() == candidate.facts.sha256:
            return content
        if file != candidate.file:
            _give_back(file, candidate.file)
        self.result.waiting.append(candidate.source)
        return None

    def _text(self, file: Path) -> str:
        root = self.workspace.root.resolve()
        return readable((file.relative_to(root) if file.is_relative_to(root) else file).as_posix())


def _place(folder: Path, name: str, sha256: str) -> Path:
    """Return where a file of that name and content stands, or may stand: its name, longer if others have it."""
    plain = folder / name
    places = (plain, *(plain.with_name(f"{plain.stem}-{sha256[:digits]}{plain.suffix}") for digits in (8, 64)))
    return next(place for place in places if not place.exists() or files.sha256_of(place) == sha256)


def _look(file: Path) -> Stamp | None:
    """Return what changes when a file does; None where it has gone, or its writer lets nobody else open it."""
    return look_again(file.parent, file.name)


def _give_back(claim: Path, source: Path) -> None:
    """Undo a claim; another file may have come under the name meanwhile."""
    claim.rename(_place(source.parent, source.name, files.sha256_of(claim)))


def _write(place: Path, content: bytes) -> None:
    """Write a file whole; what a kill leaves has a name that is ours beyond doubt, so that `recover` may remove it."""
    staged = place.with_name(f".{place.name}{_STAGED}")
    files.write_bytes(staged, content)
    staged.replace(place)
    files.sync(place.parent)


def _moved(file: Path, place: Path) -> bool:
    """Rename a file, and a writer's open handle with it; return False where only a copy will do."""
    if file.is_symlink():  # from another folder it may lead elsewhere
        return False
    try:
        file.replace(place)
    except OSError as error:
        if error.errno != errno.EXDEV:  # another file system
            raise
        return False
    files.sync(place.parent)
    files.sync(file.parent)
    return True


def _nothing_in(folder: Path, skipped: Sequence[Skipped]) -> Refused:
    got = "an empty folder" if folder.is_dir() else "a file" if folder.exists() else "no such folder"
    got = skipped[0].reason if skipped else got
    return Refused(f"{folder} holds no images", got, "a folder with new normal images", "check the path")
