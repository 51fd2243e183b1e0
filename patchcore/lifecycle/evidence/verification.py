"""Verifying the ledger with its archives, anchors, exports and banks."""

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from patchcore._util.progress import progress
from patchcore.adapters.ledger.records import BankRecord
from patchcore.adapters.mlflow.registry import damage
from patchcore.errors import Fault, Refused
from patchcore.evidence.anchors import Anchor
from patchcore.evidence.export_scope import EXPORT, contents_of_part
from patchcore.evidence.findings import Verification
from patchcore.evidence.signing import trusted_keys
from patchcore.lifecycle.archived_images import content_digests
from patchcore.lifecycle.evidence.anchoring import anchors
from patchcore.lifecycle.services import Services

_ATTEMPTS = 5  # to read ledger and archives while no other command moves images
_ARCHIVES = "the archives in the ledger"
_NO_ANCHOR = "no anchor was found: that the newest records were not removed or rewritten cannot be checked"
_Record = TypeVar("_Record")


def configured_keys() -> frozenset[str]:
    """Return the public keys that PATCHCORE_TRUSTED_KEYS names; none where it is not set.

    Raises:
        InvalidKey: it is set and names no key, or one that cannot be read.
    """
    from patchcore.config.settings import read_settings

    names = read_settings().trusted_keys
    return frozenset() if names is None else trusted_keys(names)


def verify(
    services: Services, *, banks: bool = True, known: Sequence[Anchor] = (), without_archives: bool = False
) -> Verification:
    """Verify every record, compare the ledger with its anchors, and the banks in the registry with their records.

    Args:
        services: The opened workspace.
        banks: Whether to download every bank from the registry and compare its digest with its record.
        known: More anchors, besides those in the workspace's own places.
        without_archives: Whether archives may be missing; if not, a missing one is a problem.

    Raises:
        InvalidKey: A trusted key cannot be read, or PATCHCORE_TRUSTED_KEYS names none.
        LedgerUnavailable: The ledger does not answer.
    """
    trusted = configured_keys()
    recorded, problems = _answer("the banks in the ledger", services.ledger.banks)
    outside = anchors(services, [bank.category for bank in recorded])
    compared = [*outside.anchors, *known]
    found = _walked(services, compared, trusted, without_archives=without_archives)
    problems += [*outside.problems, *(_bank_problems(services, recorded) if banks else [])]
    exported, unanswered = _answer("the exports in the ledger", lambda: list(_export_problems(services, recorded)))
    problems += [*exported, *unanswered]
    notes = outside.notes if compared else [*outside.notes, _NO_ANCHOR]
    return replace(
        found,
        ok=found.ok and not problems,
        problems=tuple(map(_plain, (*found.problems, *problems))),
        notes=tuple(map(_plain, (*found.notes, *notes))),
        banks=len(recorded) if banks else None,
    )


def _walked(
    services: Services, known: Sequence[Anchor], trusted: Collection[str], *, without_archives: bool
) -> Verification:
    """Verify the ledger and its archives; repeat if images moved to an archive in between."""
    for _ in range(_ATTEMPTS):
        listed, problems = _answer(_ARCHIVES, services.ledger.archives)
        opened, wrong = content_digests(services, listed)
        found = services.ledger.verify(known, trusted, opened, without_archives=without_archives)
        if found.ok or _answer(_ARCHIVES, services.ledger.archives)[0] == listed:
            break
    problems += [f"record {sequence}: {words}" for sequence, words in wrong]
    bad = [sequence for sequence in (found.first_bad, *(sequence for sequence, _ in wrong)) if sequence is not None]
    first = min(bad, default=None)
    return replace(found, ok=found.ok and not problems, first_bad=first, problems=(*found.problems, *problems))


def _answer(what: str, question: Callable[[], list[_Record]]) -> tuple[list[_Record], list[str]]:
    """Return the answer of the ledger, or the problem that prevents it: a damaged record must not stop the others."""
    try:
        return question(), []
    except (Fault, ValueError, TypeError, OverflowError, RecursionError) as error:  # such as text that is not JSON
        return [], [f"{what} cannot be read: {error}"]


def _plain(text: str) -> str:
    """Return a text with control characters escaped."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _export_problems(services: Services, recorded: Sequence[BankRecord]) -> Iterator[str]:
    """Yield the export events that contradict the records that belonged to the export."""
    for category in dict.fromkeys(bank.category for bank in recorded):
        for event in services.ledger.events(category, EXPORT):
            stated = dict(event.summary)
            try:
                with services.ledger.tables(str(stated.get("batch")), up_to=stated.get("up_to")) as tables:
                    there = contents_of_part(str(stated.get("batch")), (row[0] for row in tables["chain"].rows))
            except Refused:
                there = {}
            if stated != there:
                yield f"record {event.sequence}: does not match the records that belonged to the export of the batch"


def _bank_problems(services: Services, recorded: Sequence[BankRecord]) -> list[str]:
    """Return the banks in the registry that differ from their records."""
    problems: list[str] = []
    if not recorded:
        return problems
    with progress("verify: banks", len(recorded)) as advance:
        for done, bank in enumerate(recorded, start=1):
            try:
                wrong = _what_is_wrong(services, bank)
            except Fault as error:  # the registry does not answer: the other results still count
                return [*problems, f"the banks from {bank.category} {bank.version} on were not compared: {error}"]
            if wrong:
                problems.append(f"bank {bank.category} {bank.version} is not the one that was recorded: {wrong}")
            advance(done)
    return problems


def _what_is_wrong(services: Services, bank: BankRecord) -> str | None:
    with tempfile.TemporaryDirectory() as temporary:
        try:
            folder = services.registry.download_bank(bank.category, bank.version, Path(temporary) / "bank")
            return damage(folder, bank.sha256) or _other_metrics(services, bank)
        except Refused as error:
            return f"got {error.got}, expected {error.expected}"


def _other_metrics(services: Services, bank: BankRecord) -> str | None:
    """Return how the metrics in MLflow differ from those in the record; None if they do not, or the record has none."""
    shown = services.registry.version(bank.category, bank.version).metrics
    if bank.metrics is None or shown == bank.metrics:
        return None
    if not isinstance(bank.metrics, dict):
        return "its record does not hold metrics"
    names = sorted(name for name in {*shown, *bank.metrics} if shown.get(name) != bank.metrics.get(name))
    return "; ".join(f"MLflow has {name} {shown.get(name)}, the record has {bank.metrics.get(name)}" for name in names)
