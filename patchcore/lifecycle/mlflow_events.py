"""MLflow shows what the ledger records: a run for each ingest, retrain and withdrawal.

The ledger is the truth and the runs follow it: what has no run yet gets one, also when the command that recorded it was
killed, or MLflow did not answer then.
"""

import sys
from dataclasses import asdict

from patchcore.adapters.ledger.records import Event
from patchcore.adapters.mlflow.registry import EventRun
from patchcore.errors import PatchcoreError
from patchcore.lifecycle.events import INGEST, RETRAIN, WITHDRAW, describe, details
from patchcore.lifecycle.services import Services

_TAGS = ("outcome", "verdict", "dataset_version", "bank_version", "bank_sha256", "path")
_COUNTS = ("new_normals", "normals", "waiting")


def log_events(services: Services, category: str) -> list[Event]:
    """Give a run to every record of a category that has none, and return these records.

    Raises:
        Fault: MLflow or the ledger does not answer.
    """
    logged = services.registry.last_event(category)
    told = {INGEST, RETRAIN, WITHDRAW}
    new = [each for each in services.ledger.events(category) if each.sequence > logged and each.action in told]
    for event in new:
        services.registry.log_event(category, _run(event))
    return new


def log_events_or_warn(services: Services, category: str) -> str | None:
    """Give a run to every record that has none; where that fails, say so on stderr and return the words.

    What was recorded is done, whatever becomes of its run: the next command makes up for it.
    """
    try:
        log_events(services, category)
    except PatchcoreError as error:
        warning = f"MLflow does not show the last records of {category} yet, the next command makes up for it: {error}"
        sys.stderr.write(f"warning: {warning}\n")
        return warning
    return None


def _run(event: Event) -> EventRun:
    found = event.summary
    tags = {name: str(found[name]) for name in _TAGS if found.get(name) is not None}
    if found.get("run_id"):
        tags["bank_run_id"] = str(found["run_id"])
    counts = {name: float(found[name]) for name in _COUNTS if name in found}
    if "quarantined" in found:
        counts["quarantined"] = float(len(found["quarantined"]))
    return EventRun(
        record=event.sequence,
        name=f"{event.action} {event.at[:16].replace('T', ' ')}",
        text="\n\n".join([describe(event), *(f"- {line}" for line in details(event))]),
        failed=found.get("outcome") == "failed",
        at=event.at,
        who=event.who,
        tags={"event": event.action, **tags},
        metrics=counts,
        content=asdict(event),
    )
