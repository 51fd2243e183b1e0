"""Anchoring the ledger: its state is written to git tags, to MLflow, and to a file outside the workspace.

An anchor covers all records up to one by the hash of that record; see `patchcore.evidence.anchors`. If a person
can rewrite the ledger but not all of these places, the places contradict the ledger.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from patchcore._util.files import sync, write_bytes
from patchcore.adapters.ledger.evidence_records import Checkpoint
from patchcore.adapters.mlflow.registry import Registry
from patchcore.adapters.versioning.repository import Versioning
from patchcore.errors import InvalidAnchor, PatchcoreError
from patchcore.evidence.anchors import Anchor, AnchorsRead, Entry, anchor_entries, parse_anchor
from patchcore.evidence.hash_chain import GENESIS
from patchcore.lifecycle.anchor_result import AnchorResult
from patchcore.lifecycle.services import Services

_TAG, _NOTE, _SIZE = "patchcore-ledger-", "patchcore.ledger_head", "<size>"


@dataclass(frozen=True)
class Anchored:
    """An anchor and the places that have it.

    Attributes:
        checkpoint: The checkpoint that the anchor names.
        places: The places that have the anchor now.
        failures: The places that could not be written, each with the reason.
    """

    checkpoint: Checkpoint
    places: tuple[str, ...]
    failures: tuple[str, ...]


def anchor(services: Services, *, git: bool = True) -> Anchored:
    """Write the present state of the ledger to every place for anchors.

    A place that cannot be written does not stop the others. A place whose last anchor contradicts the ledger stays as
    it is, because it is evidence.

    Args:
        services: The opened workspace.
        git: Whether to write a tag in the workspace's repository, too.

    Raises:
        EmptyLedger: The ledger has no record.
        LedgerUnavailable: The ledger cannot be written.
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


def anchor_after_change(services: Services, *, git: bool = True) -> AnchorResult:
    """Anchor the ledger after a command changed it; print failures on stderr and return what the command reports.

    Args:
        services: The opened workspace.
        git: Whether to write a tag in the workspace's repository, too.
    """
    done = anchor(services, git=git)
    for failure in done.failures:
        sys.stderr.write(f"not anchored: {failure}\n")
    return AnchorResult(
        size=done.checkpoint.size, head=done.checkpoint.head, places=done.places, failures=done.failures
    )


def anchors(services: Services, categories: Iterable[str] = ()) -> AnchorsRead:
    """Return the anchors of the ledger from every place for anchors.

    Args:
        services: The opened workspace.
        categories: Categories in the ledger, besides those in params.yaml.
    """
    found = AnchorsRead()
    for place in _places(services, categories):
        try:
            found.add(place.read())
        except (PatchcoreError, OSError) as error:
            found.problems.append(f"anchors in {place.name} cannot be read: {error}")
    return found


@dataclass(frozen=True)
class _Place:
    """A place for anchors: functions that read it and write to it; ``replaces``: a new anchor replaces the last one."""

    name: str
    read: Callable[[], Iterable[Entry]]
    write: Callable[[int, str], None]
    replaces: bool = False

    def newest(self) -> Anchor | None:
        """Return the anchor that covers the most records.

        Raises:
            InvalidAnchor: The text that a new anchor would replace is not an anchor: it may be evidence.
        """
        if self.replaces:
            return next((parse_anchor(where, text) for where, text in self.read()), None)
        found = AnchorsRead()
        found.add(self.read())
        return max(found.anchors, key=lambda anchor: anchor.size, default=None)


def _places(services: Services, categories: Iterable[str], *, git: bool = True) -> Iterator[_Place]:
    """Yield every place for anchors of this workspace."""
    from patchcore.config.settings import read_settings

    registry, versioning = services.registry, services.versioning
    for category in dict.fromkeys([*services.params.categories, *categories]):
        name = f"MLflow, {category}"
        yield _Place(name, partial(_noted, registry, category, name), partial(_note, registry, category), replaces=True)
    if git:
        yield _Place(f"git tag {_TAG}{_SIZE}", partial(_tagged, versioning), partial(_tag, versioning))
    if file := read_settings().anchor_file:
        path = Path(file)
        yield _Place(file, partial(anchor_entries, path), partial(_write, path))


def _noted(registry: Registry, category: str, name: str) -> Iterator[Entry]:
    if text := registry.note(category, _NOTE):
        yield name, text


def _note(registry: Registry, category: str, _: int, text: str) -> None:
    registry.set_note(category, _NOTE, text)


def _tagged(versioning: Versioning) -> Iterator[Entry]:
    for name, text in versioning.tags(_TAG).items():
        yield f"git tag {name}", text


def _tag(versioning: Versioning, size: int, text: str) -> None:
    """Write a tag.

    Raises:
        InvalidAnchor: A tag of that name exists and names another state; it stays.
    """
    name = f"{_TAG}{size}"
    versioning.tag(name, text)
    present = versioning.tags(name)[name]
    if parse_anchor(f"git tag {name}", present) != parse_anchor(f"git tag {name}", text):
        raise InvalidAnchor(f"git tag {name}", got=f"{present!r}", expected=text, remedy="run: patchcore audit verify")


def _require_agreement(services: Services, newest: Anchor | None) -> None:
    """Check that the ledger agrees with an anchor: a new anchor must not cover up a forgery.

    Raises:
        InvalidAnchor: It does not.
    """
    if newest is None:
        return
    present = services.ledger.hash_of(newest.size) if newest.size else GENESIS.hex()
    if present != newest.head:
        raise InvalidAnchor(
            f"{newest.where} names another ledger",
            got=f"record {newest.size} with the hash {present}",
            expected=newest.head,
            remedy="run: patchcore audit verify",
        )


def anchor_text(checkpoint: Checkpoint) -> str:
    """Return an anchor as one line of JSON."""
    names = ("size", "head", "root", "at", "key", "signature")
    return json.dumps({name: getattr(checkpoint, name) for name in names}, sort_keys=True)


def _write(path: Path, size: int, text: str) -> None:
    """Append a line to a file, or add a file to a folder. Append-only storage allows both."""
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
        torn = bool(present) and not present.endswith("\n")  # a crash left it incomplete: it stays on a line of its own
        stream.write(f"\n{text}\n" if torn else f"{text}\n")
        stream.flush()
        os.fsync(stream.fileno())
    sync(path.parent)
