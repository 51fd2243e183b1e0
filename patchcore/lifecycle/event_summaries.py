"""What the ledger records of ingests, retrains and withdrawals: the summary of each kind of event, and its words.

A summary is stored as a JSON object whose keys are the fields of its class here.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal, Self

from pydantic import TypeAdapter, ValidationError

from patchcore.adapters.ledger.records import Event, EventKind


class RetrainOutcome(StrEnum):
    """What a retrain led to."""

    PROMOTED = "promoted"
    PROPOSED = "proposed"
    REFUSED = "refused"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True)
class QuarantinedImage:
    """An image in quarantine.

    Attributes:
        path: Where it is, below the workspace.
        source: Where it came from.
        reason: Why it is there.
        sha256: Of its content; empty if a person changed the note beside the image.
    """

    path: str
    source: str
    reason: str
    sha256: str


class _Stored:
    """A summary that can be stored in the ledger."""

    kind: ClassVar[EventKind]

    def to_json(self) -> dict[str, object]:
        """Return the summary as the ledger stores it."""
        values: dict[str, object] = _adapter(type(self)).dump_python(self, mode="json")
        return values

    @classmethod
    def read(cls, event: Event) -> Self | None:
        """Return the summary of an event; None if the event is of another kind or has another form."""
        if event.action != cls.kind:
            return None
        try:
            found: Self = _adapter(cls).validate_python(event.summary)
        except ValidationError:
            return None
        return found


@dataclass(frozen=True)
class IngestSummary(_Stored):
    """An ingest.

    Attributes:
        dataset_version: The data-set version of the category after it.
        dataset_sha256: Of that data-set version.
        normals: How many normal images that version has.
        new_normals: How many of them the version before did not have.
        quarantined: The images in quarantine that no event before it names.
        waiting: How many files stayed in the drop folder because a program was writing them.
    """

    dataset_version: int
    dataset_sha256: str
    normals: int
    new_normals: int
    quarantined: tuple[QuarantinedImage, ...]
    waiting: int
    kind: ClassVar[EventKind] = EventKind.INGEST


@dataclass(frozen=True)
class WithdrawalSummary(_Stored):
    """A withdrawal.

    Attributes:
        path: Where the image was, below the workspace.
        sha256: Of the image.
        reason: Why it was withdrawn.
        dataset_version: The data-set version of the category after it.
        quarantined: The image in quarantine.
    """

    path: str
    sha256: str
    reason: str
    dataset_version: int
    quarantined: tuple[QuarantinedImage, ...] = ()
    kind: ClassVar[EventKind] = EventKind.WITHDRAW


@dataclass(frozen=True)
class RetrainSummary(_Stored):
    """A retrain that built or found a bank.

    Attributes:
        dataset_version: The data-set version of the bank.
        bank_version: The bank version.
        bank_sha256: Of the bank.
        run_id: The MLflow run that built the bank.
        production: The bank version in production after the retrain; None if there is none.
        outcome: What the retrain led to.
        verdict: What the gate said.
        reasons: A line for each rule of the gate.
        rebuilt: Whether the bank was built from nothing on request.
    """

    dataset_version: int
    bank_version: int
    bank_sha256: str
    run_id: str
    production: int | None
    outcome: RetrainOutcome
    verdict: Literal["passed", "failed"]
    reasons: tuple[str, ...]
    rebuilt: bool
    kind: ClassVar[EventKind] = EventKind.RETRAIN


@dataclass(frozen=True)
class FailedRetrain(_Stored):
    """A retrain that was refused or failed before it had a bank.

    Attributes:
        reasons: The error.
        outcome: Always ``failed``.
    """

    reasons: tuple[str, ...]
    outcome: Literal[RetrainOutcome.FAILED] = RetrainOutcome.FAILED
    kind: ClassVar[EventKind] = EventKind.RETRAIN


Summary = IngestSummary | WithdrawalSummary | RetrainSummary | FailedRetrain


def summary_of(event: Event) -> Summary | None:
    """Return the summary of an ingest, a retrain or a withdrawal; None for other events.

    Example:
        >>> summary = WithdrawalSummary("data/part/train/good/1.png", "0" * 64, "a crack", 2)
        >>> event = Event(7, "part", "withdraw", summary.to_json(), "eva", "2026-01-31T02:13:00.000000Z")
        >>> summary_of(event) == summary
        True
        >>> describe(event)
        'part: data/part/train/good/1.png withdrawn (a crack); data-set version 2'
    """
    kinds: tuple[type[Summary], ...] = (IngestSummary, WithdrawalSummary, FailedRetrain, RetrainSummary)
    return next((found for kind in kinds if (found := kind.read(event)) is not None), None)


def describe(event: Event) -> str:
    """Return an ingest, a retrain or a withdrawal as a sentence."""
    category, summary = event.category, summary_of(event)
    match summary:
        case None:
            return f"{category}: {event.action}"
        case WithdrawalSummary():
            return (
                f"{category}: {summary.path} withdrawn ({summary.reason}); data-set version {summary.dataset_version}"
            )
        case IngestSummary():
            new = summary.new_normals
            came = f"{new} new normal image{'' if new == 1 else 's'}, {len(summary.quarantined)} in quarantine"
            return f"{category}: {came}; data-set version {summary.dataset_version} has {summary.normals} normal images"
        case FailedRetrain():
            return f"{category}: the retrain ended early: {summary.reasons[0]}"
        case RetrainSummary():
            return _describe_retrain(category, summary)


def details(event: Event) -> list[str]:
    """Return a line of Markdown for each reason of a retrain and for each image that an event put in quarantine."""
    match summary_of(event):
        case RetrainSummary(reasons=reasons) | FailedRetrain(reasons=reasons):
            return list(reasons)
        case IngestSummary(quarantined=quarantined) | WithdrawalSummary(quarantined=quarantined):
            return [f"`{each.path}`: {each.reason}" for each in quarantined]
        case None:
            return []


def _describe_retrain(category: str, summary: RetrainSummary) -> str:
    bank = f"{category}: bank version {summary.bank_version} from data-set version {summary.dataset_version}"
    stays = (
        f"production stays version {summary.production}"
        if summary.production is not None
        else "nothing is in production"
    )
    return {
        RetrainOutcome.PROMOTED: f"{bank} is in production",
        RetrainOutcome.PROPOSED: f"{bank} passed the gate and waits for another person's approval; {stays}",
        RetrainOutcome.REFUSED: f"{bank} did not pass the gate; {stays}",
        RetrainOutcome.UNCHANGED: f"{bank} was built from nothing again, with the same bytes; {stays}",
        RetrainOutcome.FAILED: f"{bank} failed; {stays}",
    }[summary.outcome]


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]
