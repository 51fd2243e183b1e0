"""What happened to a category and is no other record: ingests, retrains, aliases put right, replays."""

from collections.abc import Mapping
from typing import Any

from patchcore.adapters.ledger.database import Book, add_record, all_records
from patchcore.adapters.ledger.records import Event
from patchcore.adapters.ledger.tables import events
from patchcore.adapters.ledger.times import now


class Events(Book):
    """Every event of every category."""

    def record_event(self, category: str, action: str, summary: Mapping[str, Any], *, who: str) -> Event:
        """Record that something happened.

        Args:
            category: The category that it happened to.
            action: What it was, in a word.
            summary: What is to be known about it, as JSON.
            who: Who did it.
        """
        values: dict[str, Any] = {
            "category": category,
            "action": action,
            "summary": dict(summary),
            "who": who,
            "at": now(),
        }
        with self._database.writing() as connection:
            return Event(sequence=add_record(connection, "events", values), **values)

    def events(self, category: str, action: str | None = None) -> list[Event]:
        """Return what happened to a category, the first one first."""
        conditions = [events.c.category == category]
        if action is not None:
            conditions.append(events.c.action == action)
        with self._database.reading() as connection:
            return all_records(connection, Event, events, *conditions)
