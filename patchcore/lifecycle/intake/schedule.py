"""Whether a retrain that nobody asked for has something to do: a pure function of a clock and a few counts."""

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Literal

from patchcore.config.params import ScheduleParams

Work = Literal["nothing", "retrain", "rebuild"]


@dataclass(frozen=True)
class Situation:
    """What a decision depends on.

    Attributes:
        now: with a time zone, whichever.
        waiting: files in the drop folder.
        oldest_waiting: for how long the first of them has been there; None where none is.
        unfinished: what an earlier run left undone, in words; None where nothing.
        last_rebuild: when the bank was last built from nothing, with a time zone; None where that is not known.
    """

    now: datetime
    waiting: int
    oldest_waiting: timedelta | None = None
    unfinished: str | None = None
    last_rebuild: datetime | None = None


@dataclass(frozen=True)
class Decision:
    """What is to be done, and the reason in words."""

    work: Work
    reason: str


def decide(situation: Situation, params: ScheduleParams) -> Decision:
    """Return what a retrain that starts by itself has to do now.

    Quiet hours come first: they are about the machine. Then a rebuild that is due, which takes along whatever waits,
    then new images, if there are enough, and at last what an earlier run was kept from finishing.

    Args:
        situation: with times that know their time zone.
        params: the block `schedule` of params.yaml.
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
    """Return the quiet hours that a moment is in, as params.yaml has them; None where it is in none.

    They are times of the day as a clock on the wall shows them, the first one included, the last one not. So an hour
    that a change of the clocks repeats is quiet twice, and one that it leaves out is not missed.
    """
    shown = now.astimezone(_zone(params.time_zone)).strftime("%H:%M")
    return next((span for span in params.quiet_hours if _holds(span, shown)), None)


def _holds(span: str, shown: str) -> bool:
    start, end = span.split("-")
    return start <= shown < end if start < end else shown >= start or shown < end


def _overdue(situation: Situation, params: ScheduleParams, zone: tzinfo) -> int | None:
    """Return the age of the bank in calendar days, where it is older than it may be.

    Days of the calendar, not spans of 24 hours: a rebuild takes some minutes, and with a schedule once a day each one
    would otherwise come a day later than the one before.
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
