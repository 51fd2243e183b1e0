"""Checks of single parameters: each returns a value that may stand, or raises ValueError with what is expected."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

_CRON_FIELDS = 5  # the scheduler also takes fields for seconds and years, which no retrain needs
_RANDOM = re.compile(r"\b[hr]\b", re.IGNORECASE)
_SPAN = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d)-((?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII)
Values = TypeVar("Values", bound=Sequence[object])


def ascending(value: tuple[float, float]) -> tuple[float, float]:
    """Check that the first number is the lower one."""
    if value[0] >= value[1]:
        raise ValueError("the lower bound first, then a higher one")
    return value


def without_repetition(values: Values) -> Values:
    """Check that no value stands twice."""
    repeated = [value for place, value in enumerate(values) if value in values[:place]]
    if repeated:
        raise ValueError(f"each value once, not {repeated[0]!r} again")
    return values


def cron_expression(text: str) -> str:
    """Check a schedule with croniter, which Prefect's scheduler reads it with."""
    from croniter import CroniterBadDateError, croniter

    named = text.strip().startswith("@")
    if not named and len(text.split()) != _CRON_FIELDS:
        raise ValueError(
            "five fields: minute, hour, day of the month, month, day of the week; or a name such as @daily"
        )
    if not text.isascii() or _RANDOM.search(text) or not croniter.is_valid(text):
        raise ValueError("a cron expression such as '0 2 * * *', '*/15 6-22 * * mon-fri', '0 2 L * *' or '@daily'")
    try:
        croniter(text, datetime(2024, 1, 1)).get_next()  # any start will do
    except CroniterBadDateError as error:
        raise ValueError("a time that comes: no date matches this cron expression") from error
    return text


def known_time_zone(name: str) -> str:
    """Check that the IANA database has a time zone."""
    from zoneinfo import ZoneInfo

    try:
        if name != "UTC":  # needs no database
            ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("a time zone of the IANA database, such as UTC or Europe/Berlin") from error
    return name


def span_of_hours(text: str) -> str:
    """Check a span between two times of the day; it may pass midnight."""
    times = _SPAN.fullmatch(text)
    if times is None or times[1] == times[2]:
        raise ValueError("two different times of the day, from 00:00 to 23:59, as in 06:00-14:00 or 22:00-05:30")
    return text
