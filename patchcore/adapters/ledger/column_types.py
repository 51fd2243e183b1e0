"""Column types that no database here has in common: JSON as text, truth values as numbers."""

import json
from typing import Any

from sqlalchemy import Dialect, Integer, Text, TypeDecorator


class JsonText(TypeDecorator[Any]):
    """A JSON object as text, keys sorted: equal values have equal text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return the text of a value; None stays None."""
        return None if value is None else json.dumps(value, sort_keys=True, allow_nan=False)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the value of a text."""
        return None if value is None else json.loads(value)


class Flag(TypeDecorator[bool]):
    """A truth value as 0 or 1: strict tables of SQLite have no BOOLEAN."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: bool | None, dialect: Dialect) -> int | None:
        """Return the number of a truth value."""
        return None if value is None else int(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> bool | None:
        """Return the truth value of a number."""
        return None if value is None else bool(value)
