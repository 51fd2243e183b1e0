"""Events of a category that have no other record: ingests, retrains, withdrawals, repairs of MLflow, replays."""

from collections.abc import Mapping
from typing import Any

from patchcore.adapters.ledger.database import LedgerRepository, add_record, all_records
from patchcore.adapters.ledger.records import Event, EventKind
from patchcore.adapters.ledger.tables import events
from patchcore.adapters.ledger.times import now


class Events(LedgerRepository):
    """Every event of every category."""

    def record_event(self, category: str, action: str, summary: Mapping[str, Any], *, who: str) -> Event:
        """Record an event.

        Args:
            category: The category.
            action: One of `EventKind`.
            summary: What that kind of event records, as JSON.
            who: The user.

        Raises:
            ValueError: There is no such kind of event.
        """
        values: dict[str, Any] = {
            "category": category,
            "action": EventKind(action).value,
            "summary": dict(summary),
            "who": who,
            "at": now(),
        }
        with self._database.writing() as connection:
            return Event(sequence=add_record(connection, "events", values), **values)

    def events(self, category: str, action: str | None = None) -> list[Event]:
        """Return the events of a category, or those of one kind, oldest first."""
        conditions = [events.c.category == category]
        if action is not None:
            conditions.append(events.c.action == action)
        with self._database.reading() as connection:
            return all_records(connection, Event, events, *conditions)
