"""What the question about the history of a category answers: the JSON of `patchcore audit history`."""

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from patchcore._util.model import Model
from patchcore.adapters.ledger.records import (
    Action,
)


class HistoryDecision(Model):
    """A decision in the history of a category.

    Attributes:
        sequence: The sequence of its record.
        category: The category.
        action: The kind of decision.
        from_version: The bank version in production before; null if there was none.
        to_version: The bank version that the decision is about.
        bank_sha256: The digest of that bank.
        reason: Why.
        forced: Whether it was decided against the gate.
        verdict: The verdict of the gate.
        proposal: The sequence of the proposal that a promotion approves; null if there is none.
        who: The user who decided.
        at: The time of the decision, in UTC.
        kind: Always ``decision``.
        passed: Whether the gate passed the bank; null if the gate was not asked.
        approved_by: The sequence of the promotion that approved this proposal; null if there is none.
    """

    sequence: int
    category: str
    action: Action
    from_version: int | None
    to_version: int
    bank_sha256: str
    reason: str
    forced: bool
    verdict: Mapping[str, JsonValue]
    proposal: int | None
    who: str
    at: str
    kind: Literal["decision"] = "decision"
    passed: bool | None
    approved_by: int | None


class HistoryEvent(Model):
    """A withdrawal or a repair of MLflow in the history of a category.

    Attributes:
        sequence: The sequence of its record.
        category: The category.
        action: ``withdraw`` or ``reconcile``.
        summary: The facts about it.
        who: The user.
        at: The time, in UTC.
        kind: Always ``event``.
    """

    sequence: int
    category: str
    action: str
    summary: Mapping[str, JsonValue]
    who: str
    at: str
    kind: Literal["event"] = "event"


class HistoryAnswer(Model):
    """The result of `patchcore audit history`.

    Attributes:
        category: The category.
        production: The bank version in production now; null if there is none.
        history: Decisions, withdrawals and repairs of MLflow, oldest first.
    """

    category: str
    production: int | None
    history: tuple[HistoryDecision | HistoryEvent, ...]
