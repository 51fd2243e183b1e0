"""MLflow follows the ledger: the alias ``production``, and a tag on each version that is or was in production.

MLflow keeps no history of an alias, and its last writer wins; so the ledger decides, and MLflow is made to match it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from patchcore.adapters.ledger.records import CHANGES_PRODUCTION, Decision, EventKind
from patchcore.lifecycle.mlflow_events import log_events
from patchcore.lifecycle.services import Services, who

_PATIENCE = 1.0  # seconds between a decision and the last write to MLflow that follows it


@dataclass(frozen=True)
class _Repair:
    """Something in MLflow that does not match the ledger: in words, and the call that repairs it."""

    words: str
    carry_out: Callable[[], None]


def follow(services: Services, category: str) -> list[str]:
    """Make the alias and the tags match the ledger, and return a line about each that did not.

    Another process may record a decision meanwhile. Each process reads the ledger again after it wrote, so the last one
    to write has written what the ledger says.

    Raises:
        UnknownBank: MLflow has lost the version in production.
        RegistryUnavailable: MLflow does not answer.
        LedgerUnavailable: The ledger does not answer.
    """
    repaired: list[str] = []
    while True:
        history = services.ledger.history(category)
        repairs = list(_repairs(services, category, history)) if history else []
        if services.ledger.history(category) != history:  # another decision was recorded while MLflow was asked
            continue
        for repair in repairs:
            repair.carry_out()
            repaired.append(repair.words)
        if not repairs or services.ledger.history(category) == history:
            return repaired


def reconcile(services: Services, category: str) -> list[str]:
    """Repair MLflow so that it matches the ledger, record that as an event, and return a line about each repair.

    MLflow differs from the ledger after a crash, after a person edited it, and for a moment after each decision:
    the command that decided gets a second to write.

    Raises:
        UnknownBank: MLflow has lost the version in production.
        RegistryUnavailable: MLflow does not answer.
        LedgerUnavailable: The ledger does not answer.
    """
    history = services.ledger.history(category)
    if not (history and any(True for _ in _repairs(services, category, history))):
        return []
    time.sleep(_PATIENCE)
    before = services.registry.alias(category)
    repaired = follow(services, category)
    if repaired:
        production = services.ledger.production(category)
        summary = {"was": before, "is": production.version if production else None, "repairs": repaired}
        services.ledger.record_event(category, EventKind.RECONCILE, summary, who=who())
    return repaired


def reconcile_all(services: Services, category: str) -> list[str]:
    """Repair MLflow so that it matches the ledger: alias, tags, and a run for each event. Return a line about each.

    Raises:
        UnknownBank: MLflow has lost the version in production.
        RegistryUnavailable: MLflow does not answer.
        LedgerUnavailable: The ledger does not answer.
    """
    repaired = reconcile(services, category)
    for event in log_events(services, category):
        repaired.append(f"MLflow had no run for record {event.sequence}, {event.action}; now it has one")
    return repaired


def production_tags(history: Sequence[Decision]) -> dict[int, str]:
    """Return the tag of each version that is or was in production: when, by which decision, and by whom."""
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
        words = f"{was}; it is removed, because the ledger has nothing in production"
        yield _Repair(words, lambda: registry.remove_alias(category))
    else:
        words = f"{was}; now it names version {version}, as in the ledger"
        yield _Repair(words, lambda: registry.set_alias(category, version))


def _tag_repairs(services: Services, category: str, wanted: Mapping[int, str]) -> Iterator[_Repair]:
    for version, text in services.registry.production_tags(category).items():
        right = wanted.get(version)
        if text != right:
            words = f"the tag production of version {version} of {category} was {text!r}; now it is {right!r}"
            yield _Repair(words, _tagging(services, category, version, right))


def _tagging(services: Services, category: str, version: int, text: str | None) -> Callable[[], None]:
    return lambda: services.registry.set_production_tag(category, version, text)
