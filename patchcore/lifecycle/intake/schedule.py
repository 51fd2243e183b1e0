"""Whether a scheduled retrain has something to do: a pure function of the time and a few counts."""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Literal

from patchcore.config.params import ScheduleParams

Work = Literal["nothing", "retrain", "rebuild"]


@dataclass(frozen=True)
class Situation:
    """What a decision depends on.

    Attributes:
        now: With any time zone.
        waiting: How many files are in the drop folder.
        oldest_waiting: How long the first of them has been there; None if there is none.
        unfinished: What an earlier run did not finish, in words; None if there is nothing.
        last_rebuild: When the bank was last built from nothing, with a time zone; None if it is not known.
    """

    now: datetime
    waiting: int
    oldest_waiting: timedelta | None = None
    unfinished: str | None = None
    last_rebuild: datetime | None = None


@dataclass(frozen=True)
class Decision:
    """What to do, and the reason in words."""

    work: Work
    reason: str


def decide(situation: Situation, params: ScheduleParams) -> Decision:
    """Return what a scheduled retrain has to do now.

    The first rule that applies decides: quiet hours; a rebuild that is due, which also takes
    the waiting files; enough new images; work that an earlier run did not finish.

    Args:
        situation: The facts.
        params: The block `schedule` of params.yaml.

    Example:
        >>> from datetime import UTC
        >>> night = datetime(2026, 6, 10, 2, 0, tzinfo=UTC)
        >>> decide(Situation(night, waiting=3, oldest_waiting=timedelta(hours=5)), ScheduleParams())
        Decision(work='retrain', reason='3 files wait, the first for 5 hours, at least 1')
    """
    zone = _zone(params.time_zone)
    if quiet := quiet_span(situation.now, params):
        return Decision("nothing", f"quiet hours, {quiet} {params.time_zone}: {_waiting(situation)}")
    if age := _overdue(situation, params, zone):
        return Decision("rebuild", f"last built from nothing {_days(age)} ago, at most {params.rebuild_after_days}")
    if situation.waiting >= params.minimum_new_images:
        return Decision("retrain", f"{_waiting(situation)}, at least {params.minimum_new_images}")
    if situation.unfinished:
        return Decision("retrain", situation.unfinished)
    return Decision("nothing", f"{_waiting(situation)}, fewer than {params.minimum_new_images}")


def quiet_span(now: datetime, params: ScheduleParams) -> str | None:
    """Return the quiet hours of params.yaml that contain a moment; None if none do.

    They are local times of day, the first one included, the last one not. So an hour that the end of daylight saving
    repeats is quiet twice.
    """
    shown = now.astimezone(_zone(params.time_zone)).strftime("%H:%M")
    return next((span for span in params.quiet_hours if _holds(span, shown)), None)


def _holds(span: str, shown: str) -> bool:
    start, end = span.split("-")
    return start <= shown < end if start < end else shown >= start or shown < end


def _overdue(situation: Situation, params: ScheduleParams, zone: tzinfo) -> int | None:
    """Return the age of the bank in calendar days if it is too old, else None.

    Calendar days, not spans of 24 hours: a rebuild takes some minutes, so with a daily schedule each rebuild would
    otherwise come a day later than the one before.
    """
    if params.rebuild_after_days is None or situation.last_rebuild is None:
        return None
    age = (situation.now.astimezone(zone).date() - situation.last_rebuild.astimezone(zone).date()).days
    return age if age >= params.rebuild_after_days else None


def _waiting(situation: Situation) -> str:
    if situation.waiting == 0:
        return "no file waits"
    files = "1 file waits" if situation.waiting == 1 else f"{situation.waiting} files wait"
    return files if situation.oldest_waiting is None else f"{files}, the first for {_span(situation.oldest_waiting)}"


def _span(span: timedelta) -> str:
    hours = max(span, timedelta()) // timedelta(hours=1)
    return _days(hours // 24) if hours >= 48 else f"{hours} hours" if hours >= 2 else f"{_minutes(span)} minutes"


def _minutes(span: timedelta) -> int:
    return max(span, timedelta()) // timedelta(minutes=1)


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _zone(name: str) -> tzinfo:
    from datetime import UTC
    from zoneinfo import ZoneInfo

    return UTC if name == "UTC" else ZoneInfo(name)  # UTC needs no database of time zones
