"""The ledger's state written down where who can change the ledger cannot: a git tag, MLflow, a file.

An anchor names all records up to one by the hash of that one. A ledger that was cut short or written anew, with every
hash made right again, still differs from its anchors.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from patchcore._util.files import sync, write_bytes
from patchcore.adapters.ledger.evidence_records import Checkpoint
from patchcore.adapters.mlflow.registry import Registry
from patchcore.adapters.versioning.repository import Versioning
from patchcore.errors import PatchcoreError, Refused
from patchcore.evidence.hash_chain import GENESIS
from patchcore.evidence.verify_chain import Anchor
from patchcore.lifecycle.services import Services

"""Environment variable: a file that grows by a line for each anchor, or a folder that gets a file for each."""

_TAG, _NOTE, _SIZE = "patchcore-ledger-", "patchcore.ledger_head", "<size>"
_SIZES = 2**63  # a database counts no further

Entry = tuple[str, str | None]
"""Where something stands, and its text; None where there is none."""


@dataclass(frozen=True)
class Anchored:
    """What was written down, and where.

    Attributes:
        checkpoint: What the anchor names.
        places: Where it stands now.
        failures: Where it could not be written, and why.
    """

    checkpoint: Checkpoint
    places: tuple[str, ...]
    failures: tuple[str, ...]


def anchor(services: Services, *, git: bool = True) -> Anchored:
    """Write down the present state of the ledger in every place that there is.

    A place that cannot be written does not keep the others from it. A place whose last anchor names something else
    than the ledger does is left as it is: it is the evidence.

    Args:
        services: The opened workspace.
        git: Also as a tag in the workspace's repository.

    Raises:
        Fault: The ledger cannot be written.
    """
    checkpoint = services.ledger.checkpoint()
    text, categories = anchor_text(checkpoint), [bank.category for bank in services.ledger.banks()]
    places, failures = [], []
    for place in _places(services, categories, git=git and services.params.versioning.commit):
        name = place.name.replace(_SIZE, str(checkpoint.size))
        try:
            _require_agreement(services, place.newest())
            place.write(checkpoint.size, text)
        except (PatchcoreError, OSError) as error:
            failures.append(f"{name}: {error}")
        else:
            places.append(name)
    return Anchored(checkpoint, tuple(places), tuple(failures))


def anchor_and_tell(services: Services, *, git: bool = True) -> dict[str, Any]:
    """Anchor the ledger after it was changed, and return what a command shows; failures are told on stderr too."""
    done = anchor(services, git=git)
    for failure in done.failures:
        sys.stderr.write(f"not anchored: {failure}\n")
    size, head = done.checkpoint.size, done.checkpoint.head
    return {"size": size, "head": head, "places": list(done.places), "failures": list(done.failures)}


@dataclass
class Found:
    """What stands outside the ledger where anchors do.

    Attributes:
        anchors: Those that can be read.
        notes: What else stands there, in words: it was put there by somebody else, or garbled.
        problems: Which places did not answer, and why.
    """

    anchors: list[Anchor] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, entries: Iterable[Entry]) -> None:
        """Read what stands in a place."""
        for where, text in entries:
            try:
                self.anchors.append(_parsed(where, text))
            except Refused as error:
                self.notes.append(str(error))


def anchors(services: Services, categories: Iterable[str] = ()) -> Found:
    """Return everything that was written down of the ledger, from every place that there is.

    Args:
        services: The opened workspace.
        categories: Those that the ledger names, besides the workspace's own.
    """
    found = Found()
    for place in _places(services, categories):
        try:
            found.add(place.read())
        except (PatchcoreError, OSError) as error:
            found.problems.append(f"anchors in {place.name} cannot be read: {error}")
    return found


def anchors_in(path: Path) -> Found:
    """Return the anchors in a file or a folder; a line that a crash cut short is passed over.

    Raises:
        Refused: There are none, or they cannot be read.
    """
    found, expected = Found(), "lines of JSON with size, head and root"
    try:
        found.add(_read(path))
    except OSError as error:
        raise Refused(f"anchors in {path}", got=str(error), expected=expected, remedy="check the path") from error
    if not found.anchors:
        got = found.notes[0] if found.notes else "none"
        raise Refused(f"anchors in {path}", got=got, expected=expected, remedy="check it")
    return found


def _read(path: Path) -> Iterator[Entry]:
    if path.is_dir():
        for file in sorted(path.glob("*.json")):
            yield str(file), file.read_text("utf-8", errors="replace")
        return
    lines = path.read_text("utf-8", errors="replace").split("\n") if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        whole = line.strip()
        if whole and not (whole.startswith("{") and not whole.endswith("}")):  # else a crash cut it short
            yield f"{path}, line {number}", whole


@dataclass(frozen=True)
class _Place:
    """Where anchors stand: how what is there is read, and how an anchor is added, or put in the place of the last."""

    name: str
    read: Callable[[], Iterable[Entry]]
    write: Callable[[int, str], None]
    replaces: bool = False

    def newest(self) -> Anchor | None:
        """Return the anchor that names the most records.

        Raises:
            Refused: What an anchor would replace is none: it may be evidence.
        """
        if self.replaces:
            return next((_parsed(where, text) for where, text in self.read()), None)
        found = Found()
        found.add(self.read())
        return max(found.anchors, key=lambda anchor: anchor.size, default=None)


def _places(services: Services, categories: Iterable[str], *, git: bool = True) -> Iterator[_Place]:
    """Yield every place of this workspace."""
    registry, versioning = services.registry, services.versioning
    for category in dict.fromkeys([*services.params.categories, *categories]):
        name = f"MLflow, {category}"
        yield _Place(name, partial(_noted, registry, category, name), partial(_note, registry, category), replaces=True)
    if git:
        yield _Place(f"git tag {_TAG}{_SIZE}", partial(_tagged, versioning), partial(_tag, versioning))
    from patchcore.config.settings import read_settings

    if file := read_settings().anchor_file:
        path = Path(file)
        yield _Place(file, partial(_read, path), partial(_write, path))


def _noted(registry: Registry, category: str, name: str) -> Iterator[Entry]:
    if text := registry.note(category, _NOTE):
        yield name, text


def _note(registry: Registry, category: str, _: int, text: str) -> None:
    registry.set_note(category, _NOTE, text)


def _tagged(versioning: Versioning) -> Iterator[Entry]:
    for name, text in versioning.tags(_TAG).items():
        yield f"git tag {name}", text


def _tag(versioning: Versioning, size: int, text: str) -> None:
    """Write a tag; one of its name that somebody else made stays, and is told."""
    name = f"{_TAG}{size}"
    versioning.tag(name, text)
    if _parsed(f"git tag {name}", (present := versioning.tags(name)[name])) != _parsed(f"git tag {name}", text):
        raise Refused(f"git tag {name}", got=f"{present!r}", expected=text, remedy="run: patchcore audit verify")


def _require_agreement(services: Services, newest: Anchor | None) -> None:
    """Refuse to go on over an anchor that the ledger contradicts: what would be written might hide a forgery."""
    if newest is None:
        return
    present = services.ledger.hash_of(newest.size) if newest.size else GENESIS.hex()
    if present != newest.head:
        raise Refused(
            f"{newest.where} names another ledger",
            got=f"record {newest.size} with the hash {present}",
            expected=newest.head,
            remedy="run: patchcore audit verify",
        )


def anchor_text(checkpoint: Checkpoint) -> str:
    """Return an anchor as one line of JSON."""
    names = ("size", "head", "root", "at", "key", "signature")
    return json.dumps({name: getattr(checkpoint, name) for name in names}, sort_keys=True)


def _parsed(where: str, text: str | None) -> Anchor:
    try:
        values = json.loads(text or "")
        size, head, root = values["size"], values["head"], values["root"]
        if type(size) is not int or not 0 <= size < _SIZES or not (_is_hash(head) and _is_hash(root)):
            raise ValueError("another size or hash than a ledger has")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(
            f"anchor in {where}",
            got="no text" if text is None else f"{text[:80]!r}",
            expected="JSON with size, head and root",
            remedy="somebody wrote something else there: look at it",
        ) from error
    return Anchor(where, size, head.lower(), root.lower())


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{64}", value) is not None


def _write(path: Path, size: int, text: str) -> None:
    """Add a line to a file, or a file to a folder: storage that allows nothing else is what this is for."""
    if path.is_dir():
        file = path / f"{size:012}.json"
        if not file.exists():
            write_bytes(file, f"{text}\n".encode())
        return
    with path.open("a+", encoding="utf-8", errors="replace") as stream:
        stream.seek(0)
        present = stream.read()
        if text in present.splitlines()[-1:]:
            return
        torn = bool(present) and not present.endswith("\n")  # by a crash: it stays, on a line of its own
        stream.write(f"\n{text}\n" if torn else f"{text}\n")
        stream.flush()
        os.fsync(stream.fileno())
    sync(path.parent)
