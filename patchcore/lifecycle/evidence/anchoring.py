"""The ledger's state written down where who can change the ledger cannot: a git tag, MLflow, a file.

An anchor names all records up to one by the hash of that one. A ledger that was cut short or written anew, with every
hash made right again, still differs from its anchors.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from patchcore.adapters.ledger.records import Checkpoint
from patchcore.chain_walk import Anchor
from patchcore.errors import PatchcoreError, Refused
from patchcore.files import sync, write_bytes
from patchcore.lifecycle.services import Services

ANCHOR_FILE = "PATCHCORE_ANCHOR_FILE"
"""Environment variable: a file that grows by a line for each anchor, or a folder that gets a file for each."""

_TAG, _NOTE, _SIZE = "patchcore-ledger-", "patchcore.ledger_head", "<size>"


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
    text = anchor_text(checkpoint)
    places, failures = [], []
    for place in _places(services, git=git):
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


def anchors(services: Services) -> list[Anchor]:
    """Return everything that was written down of the ledger, from every place that there is.

    Raises:
        Refused: One of them is no anchor.
        Fault: The registry does not answer.
    """
    return [anchor for place in _places(services, git=True) for anchor in place.read()]


def anchors_in(path: Path) -> list[Anchor]:
    """Return the anchors in a file or a folder; a line that a crash cut short is passed over.

    Raises:
        Refused: There are none, or they cannot be read.
    """
    try:
        found = _read(path)
    except (OSError, UnicodeDecodeError) as error:
        expected = "lines of JSON with size, head and root"
        raise Refused(f"anchors in {path}", got=str(error), expected=expected, remedy="check the path") from error
    if not found:
        raise Refused(
            f"anchors in {path}", got="none", expected="lines of JSON with size, head and root", remedy="check it"
        )
    return found


def _read(path: Path) -> list[Anchor]:
    if path.is_dir():
        return [_parsed(str(file), file.read_text("utf-8")) for file in sorted(path.glob("*.json"))]
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    found = []
    for number, line in enumerate(lines, start=1):
        with suppress(Refused):
            found.append(_parsed(f"{path}, line {number}", line))
    return found


@dataclass(frozen=True)
class _Place:
    """Where anchors stand: how they are read, and how one is added."""

    name: str
    read: Callable[[], list[Anchor]]
    write: Callable[[int, str], None]

    def newest(self) -> Anchor | None:
        return max(self.read(), key=lambda anchor: anchor.size, default=None)


def _places(services: Services, *, git: bool) -> Iterator[_Place]:
    """Yield every place of this workspace."""
    registry, versioning = services.registry, services.versioning
    for category in dict.fromkeys([*services.params.categories, *(bank.category for bank in services.ledger.banks())]):
        name = f"MLflow, {category}"
        yield _Place(
            name,
            lambda category=category, name=name: _noted(name, registry.note(category, _NOTE)),  # type: ignore[misc]
            lambda _, text, category=category: registry.set_note(category, _NOTE, text),  # type: ignore[misc]
        )
    if git and services.params.versioning.commit:
        yield _Place(
            f"git tag {_TAG}{_SIZE}",
            lambda: [_parsed(f"git tag {name}", text) for name, text in versioning.tags(_TAG).items()],
            lambda size, text: versioning.tag(f"{_TAG}{size}", text),
        )
    if file := os.environ.get(ANCHOR_FILE):
        path = Path(file)
        yield _Place(file, partial(_read, path), partial(_write, path))


def _noted(where: str, text: str | None) -> list[Anchor]:
    return [_parsed(where, text)] if text else []


def _require_agreement(services: Services, newest: Anchor | None) -> None:
    """Refuse to go on over an anchor that the ledger contradicts: what would be written might hide a forgery."""
    if newest is not None and (present := services.ledger.hash_of(newest.size)) != newest.head:
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


def _parsed(where: str, text: str) -> Anchor:
    try:
        values = json.loads(text)
        return Anchor(where, int(values["size"]), str(values["head"]), str(values["root"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"anchor in {where}",
            got=f"{text[:80]!r}",
            expected="JSON with size, head and root",
            remedy="somebody wrote something else there: look at it",
        ) from error


def _write(path: Path, size: int, text: str) -> None:
    """Add a line to a file, or a file to a folder: storage that allows nothing else is what this is for."""
    if path.is_dir():
        file = path / f"{size:012}.json"
        if not file.exists():
            write_bytes(file, f"{text}\n".encode())
        return
    with path.open("a+", encoding="utf-8") as stream:
        stream.seek(0)
        present = stream.read()
        if text in present.splitlines()[-1:]:
            return
        torn = bool(present) and not present.endswith("\n")  # by a crash: it stays, on a line of its own
        stream.write(f"\n{text}\n" if torn else f"{text}\n")
        stream.flush()
        os.fsync(stream.fileno())
    sync(path.parent)
