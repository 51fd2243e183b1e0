"""Show in MLflow what the ledger records: a run for each ingest, retrain and withdrawal.

The runs follow the ledger: an event without a run gets one from the next command, also if the command that recorded it
was killed, or MLflow did not answer.
"""

import sys
from dataclasses import asdict

from patchcore.adapters.ledger.records import Event, EventKind
from patchcore.adapters.mlflow.registry import EventRun
from patchcore.errors import PatchcoreError
from patchcore.lifecycle.event_summaries import (
    FailedRetrain,
    IngestSummary,
    RetrainSummary,
    WithdrawalSummary,
    describe,
    details,
    summary_of,
)
from patchcore.lifecycle.services import Services

_SHOWN = {EventKind.INGEST, EventKind.RETRAIN, EventKind.WITHDRAW}


def log_events(services: Services, category: str) -> list[Event]:
    """Give a run to every event of a category that has none, and return these events.

    Raises:
        Fault: MLflow or the ledger does not answer.
    """
    logged = services.registry.last_event(category)
    new = [each for each in services.ledger.events(category) if each.sequence > logged and each.action in _SHOWN]
    for event in new:
        services.registry.log_event(category, _run(event))
    return new


def log_events_or_warn(services: Services, category: str) -> str | None:
    """Give a run to every event that has none; if that fails, write a warning on stderr and return it."""
    try:
        log_events(services, category)
    except PatchcoreError as error:
        warning = f"MLflow does not show the last records of {category} yet, the next command adds them: {error}"
        sys.stderr.write(f"warning: {warning}\n")
        return warning
    return None


def _run(event: Event) -> EventRun:
    summary = summary_of(event)
    tags: dict[str, object] = {"event": str(event.action)}
    counts: dict[str, float] = {}
    match summary:
        case IngestSummary():
            tags["dataset_version"] = summary.dataset_version
            counts = {"new_normals": summary.new_normals, "normals": summary.normals, "waiting": summary.waiting}
            counts["quarantined"] = len(summary.quarantined)
        case WithdrawalSummary():
            tags |= {"dataset_version": summary.dataset_version, "path": summary.path}
            counts["quarantined"] = len(summary.quarantined)
        case RetrainSummary():
            names = ("outcome", "verdict", "dataset_version", "bank_version", "bank_sha256")
            tags |= {name: getattr(summary, name) for name in names} | {"bank_run_id": summary.run_id}
        case FailedRetrain():
            tags["outcome"] = summary.outcome
    return EventRun(
        record=event.sequence,
        name=f"{event.action} {event.at[:16].replace('T', ' ')}",
        text="\n\n".join([describe(event), *(f"- {line}" for line in details(event))]),
        failed=isinstance(summary, FailedRetrain),
        at=event.at,
        who=event.who,
        tags={name: str(value) for name, value in tags.items()},
        metrics={name: float(count) for name, count in counts.items()},
        content=asdict(event),
    )
