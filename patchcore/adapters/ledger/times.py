"""Times as the ledger writes them: UTC as text, such as ``2026-01-31T02:13:00.000000Z``. They sort by time."""

from datetime import UTC, datetime

from patchcore.errors import InvalidTime


def utc_text(time: datetime) -> str:
    """Return a time as the ledger writes it.

    Raises:
        InvalidTime: The time has no time zone.
    """
    if time.tzinfo is None:
        raise InvalidTime(
            f"time {time}", got="no time zone", expected="a time zone", remedy="add one, such as Z or +01:00"
        )
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def time_of(text: str) -> datetime:
    """Return the time in a text in ISO 8601; a time without a zone is UTC.

    Raises:
        InvalidTime: The text cannot be read.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        expected = "a time such as 2026-11-22T02:13 or 2026-11-22T02:13:00+01:00"
        raise InvalidTime(
            f"{text!r} is not a time", got=repr(text), expected=expected, remedy="write the time in that form"
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def now() -> str:
    """Return the present time as the ledger writes it."""
    return utc_text(datetime.now(UTC))
