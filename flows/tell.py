"""Whoever is to know what an ingest or a retrain did: Prefect, and the webhook. The ledger knows it already."""

from contextlib import suppress

from flows.artifacts import happening_page, leave_markdown
from flows.notify import notify
from patchcore.adapters.ledger.records import Event
from patchcore.lifecycle import happenings
from patchcore.lifecycle.services import Services


def tell(event: Event | None) -> None:
    """Leave a page in Prefect and notify the webhook, once for each record; nothing was recorded, nothing is told."""
    if event is None:
        return
    text = happenings.describe(event)
    warning = notify(event, text)
    reasons = [*event.summary.get("reasons", ()), *_quarantined(event)]
    leave_markdown(f"{event.action}-report", event.category, happening_page(text, reasons, warning))


def tell_failure(services: Services, category: str, error: Exception) -> None:
    """Record and tell that a retrain was refused or failed; what fails here must not hide that."""
    with suppress(Exception):
        tell(happenings.record_failure(services, category, error))


def _quarantined(event: Event) -> list[str]:
    return [f"`{each['path']}`: {each['reason']}" for each in event.summary.get("quarantined", ())]
