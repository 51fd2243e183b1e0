"""The registry follows the ledger: the alias ``production``, and a tag on each version that is or was in production."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from patchcore.adapters.ledger.records import CHANGES_PRODUCTION, Decision, EventKind
from patchcore.lifecycle.services import Services, who

_PATIENCE = 1.0  # seconds: between a decision and the last write to the registry that follows it


@dataclass(frozen=True)
class _Repair:
    """Something in the registry that is not what the ledger says, in words, and what puts it right."""

    words: str
    make: Callable[[], None]


def follow(services: Services, category: str) -> list[str]:
    """Let alias and tags say what the ledger says, and return a line about each that did not.

    Somebody may decide anew while we write: whoever wrote looks at the ledger again, so that the last to write has
    written what it says.

    Raises:
        Refused: the registry has lost the version in production.
        Fault: the registry does not answer.
    """
    said: list[str] = []
    while True:
        history = services.ledger.history(category)
        repairs = list(_repairs(services, category, history)) if history else []
        if services.ledger.history(category) != history:  # decided anew while the registry was asked
            continue
        for repair in repairs:
            repair.make()
            said.append(repair.words)
        if not repairs or services.ledger.history(category) == history:
            return said


def reconcile(services: Services, category: str) -> list[str]:
    """Put right what a crash or a hand left behind in the registry, record that, and return a line about each.

    What follows a decision that somebody else is carrying out at this moment is left to them for a while.

    Raises:
        Refused: the registry has lost the version in production.
        Fault: the registry does not answer.
    """
    history = services.ledger.history(category)
    if not (history and any(True for _ in _repairs(services, category, history))):
        return []
    time.sleep(_PATIENCE)
    before = services.registry.alias(category)
    said = follow(services, category)
    if said:
        production = services.ledger.production(category)
        summary = {"was": before, "is": production.version if production else None, "repairs": said}
        services.ledger.record_event(category, EventKind.RECONCILE, summary, who=who())
    return said


def production_tags(history: Sequence[Decision]) -> dict[int, str]:
    """Return what the tag says of each version that is or was in production: when, by which decision, and by whom."""
    changes = [decision for decision in history if decision.action in CHANGES_PRODUCTION]
    followers = [*changes[1:], None]
    return {change.to_version: _tag(change, after) for change, after in zip(changes, followers, strict=False)}


def _tag(change: Decision, after: Decision | None) -> str:
    how = f"decision {change.sequence} by {change.who}" + (", forced" if change.forced else "")
    if after is None:
        return f"since {change.at}, {how}"
    return f"from {change.at}, {how}, to {after.at}, replaced by version {after.to_version}, decision {after.sequence}"


def _repairs(services: Services, category: str, history: Sequence[Decision]) -> Iterator[_Repair]:
    yield from _alias_repairs(services, category, history)
    yield from _tag_repairs(services, category, production_tags(history))


def _alias_repairs(services: Services, category: str, history: Sequence[Decision]) -> Iterator[_Repair]:
    registry, named = services.registry, services.registry.alias(category)
    version = next((each.to_version for each in reversed(history) if each.action in CHANGES_PRODUCTION), None)
    if named == version:
        return
    was = f"the alias production of {category} named {'nothing' if named is None else f'version {named}'}"
    if version is None:
        words = f"{was}; it is removed, for the ledger says that nothing is in production"
        yield _Repair(words, lambda: registry.remove_alias(category))
    else:
        words = f"{was}; it follows the ledger to version {version} again"
        yield _Repair(words, lambda: registry.set_alias(category, version))


def _tag_repairs(services: Services, category: str, wanted: Mapping[int, str]) -> Iterator[_Repair]:
    for version, text in services.registry.production_tags(category).items():
        right = wanted.get(version)
        if text != right:
            words = f"the tag production of version {version} of {category} said {text!r}; it says {right!r} again"
            yield _Repair(words, _tagging(services, category, version, right))


def _tagging(services: Services, category: str, version: int, text: str | None) -> Callable[[], None]:
    return lambda: services.registry.set_production_tag(category, version, text)
