"""The ledger's state written down where who can change the ledger cannot: a git tag, MLflow, a file.

An anchor names all records up to one by the hash of that one. A ledger that was cut short or written anew, with every
hash made right again, still differs from its anchors.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from patchcore.adapters.ledger.records import Checkpoint
from patchcore.chain_walk import Anchor
from patchcore.errors import PatchcoreError, Refused
from patchcore.files import sync, write_bytes
from patchcore.lifecycle.services import Services

ANCHOR_FILE = "PATCHCORE_ANCHOR_FILE"
"""Environment variable: a file that grows by a line for each anchor, or a folder that gets a file for each."""

_TAG, _NOTE = "patchcore-ledger-", "patchcore.ledger_head"


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

    A place that cannot be written does not keep the others from it.

    Args:
        services: The opened workspace.
        git: Also as a tag in the workspace's repository.

    Raises:
        Fault: The ledger cannot be written.
    """
    checkpoint = services.ledger.checkpoint()
    text = anchor_text(checkpoint)
    writers: dict[str, Callable[[], object]] = {
        f"MLflow, {category}": partial(services.registry.set_note, category, _NOTE, text)
        for category in dict.fromkeys(bank.category for bank in services.ledger.banks())
    }
    if git and services.params.versioning.commit:
        tag = f"{_TAG}{checkpoint.size}"
        writers[f"git tag {tag}"] = partial(services.versioning.tag, tag, text)
    if file := os.environ.get(ANCHOR_FILE):
        writers[file] = partial(_write, Path(file), checkpoint.size, text)
    places, failures = [], []
    for place, write in writers.items():
        try:
            write()
        except (PatchcoreError, OSError) as error:
            failures.append(f"{place}: {error}")
        else:
            places.append(place)
    return Anchored(checkpoint, tuple(places), tuple(failures))


def anchors(services: Services) -> list[Anchor]:
    """Return everything that was written down of the ledger, from every place that there is.

    Raises:
        Refused: One of them is no anchor.
        Fault: The registry does not answer.
    """
    found = [_parsed(f"git tag {name}", text) for name, text in services.versioning.tags(_TAG).items()]
    for category in services.params.categories:
        if text := services.registry.note(category, _NOTE):
            found.append(_parsed(f"MLflow, {category}", text))
    if file := os.environ.get(ANCHOR_FILE):
        found += anchors_in(Path(file))
    return found


def anchors_in(path: Path) -> list[Anchor]:
    """Return the anchors in a file or a folder.

    Raises:
        Refused: There are none, or one is no anchor.
    """
    try:
        found = [
            _parsed(str(file), line) for file in _files(path) for line in file.read_text("utf-8").splitlines() if line
        ]
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(
            f"anchors in {path}", got=str(error), expected="lines of JSON", remedy="check the path"
        ) from error
    return found


def anchor_text(checkpoint: Checkpoint) -> str:
    """Return an anchor as one line of JSON."""
    names = ("size", "head", "root", "at", "key", "signature")
    return json.dumps({name: getattr(checkpoint, name) for name in names}, sort_keys=True)


def _files(path: Path) -> Iterator[Path]:
    yield from sorted(path.glob("*.json")) if path.is_dir() else (path,)


def _parsed(where: str, text: str) -> Anchor:
    try:
        values = json.loads(text)
        return Anchor(where, int(values["size"]), str(values["head"]))
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"anchor in {where}",
            got=f"{text[:80]!r}",
            expected="JSON with size and head",
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
        if text in _last_line(stream.read().splitlines()):
            return
        stream.write(f"{text}\n")
        stream.flush()
        os.fsync(stream.fileno())
    sync(path.parent)


def _last_line(lines: Sequence[str]) -> str:
    return lines[-1] if lines else ""
