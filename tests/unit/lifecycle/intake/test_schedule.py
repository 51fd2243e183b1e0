"""The decision whether a retrain starts by itself: times of the day, changes of the clocks, boundaries."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from patchcore.config.params import ScheduleParams, load_params
from patchcore.lifecycle.intake.schedule import Decision, Situation, decide, quiet_span
from tests.support.places import PARAMS_FILE

SCHEDULE = load_params(PARAMS_FILE).schedule
NOON = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)


def schedule(**changed: Any) -> ScheduleParams:
    return ScheduleParams.model_validate(SCHEDULE.model_dump() | changed)


def at(text: str, zone: str = "UTC", fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


@pytest.mark.parametrize(
    ("waiting", "minimum", "work"), [(0, 1, "nothing"), (1, 1, "retrain"), (4, 5, "nothing"), (5, 5, "retrain")]
)
def test_as_many_images_as_params_ask_for_are_work(waiting: int, minimum: int, work: str) -> None:
    assert decide(Situation(NOON, waiting), schedule(minimum_new_images=minimum)).work == work


def test_the_reason_says_how_many_wait_and_for_how_long() -> None:
    five = schedule(minimum_new_images=5)
    for span, words in (
        (timedelta(seconds=30), "0 minutes"),
        (timedelta(minutes=119), "119 minutes"),
        (timedelta(hours=2), "2 hours"),
        (timedelta(hours=47, minutes=59), "47 hours"),
        (timedelta(days=2), "2 days"),
        (timedelta(seconds=-5), "0 minutes"),  # the clock of a file server is ahead of ours
    ):
        decision = decide(Situation(NOON, 3, oldest_waiting=span), five)
        assert decision == Decision("nothing", f"3 files wait, the first for {words}, fewer than 5")
    assert decide(Situation(NOON, 0), five).reason == "no file waits, fewer than 5"
    assert decide(Situation(NOON, 1), schedule()).reason == "1 file waits, at least 1"


def test_what_a_run_left_undone_is_work_although_nothing_waits() -> None:
    decision = decide(Situation(NOON, 0, unfinished="data-set version 2 has no bank yet"), schedule())
    assert decision == Decision("retrain", "data-set version 2 has no bank yet")


@pytest.mark.parametrize(
    ("shown", "quiet"),
    [("05:59:59", False), ("06:00", True), ("13:59:59.999999", True), ("14:00", False), ("00:00", False)],
)
def test_quiet_hours_begin_with_their_first_minute_and_end_before_their_last(shown: str, quiet: bool) -> None:
    params = schedule(quiet_hours=["06:00-14:00"])
    now = at(f"2026-06-10T{shown}")
    assert (quiet_span(now, params) is not None) == quiet
    assert decide(Situation(now, 9, unfinished="no bank yet", last_rebuild=None), params).work == (
        "nothing" if quiet else "retrain"
    )


@pytest.mark.parametrize(
    ("shown", "quiet"),
    [("21:59", False), ("22:00", True), ("23:59:59", True), ("00:00", True), ("05:29", True), ("05:30", False)],
)
def test_quiet_hours_may_cross_midnight(shown: str, quiet: bool) -> None:
    assert (quiet_span(at(f"2026-06-10T{shown}"), schedule(quiet_hours=["22:00-05:30"])) is not None) == quiet


def test_quiet_hours_may_end_at_midnight() -> None:
    params = schedule(quiet_hours=["22:00-00:00"])
    assert quiet_span(at("2026-06-10T23:59:59"), params) == "22:00-00:00"
    assert quiet_span(at("2026-06-11T00:00"), params) is None


def test_each_of_several_quiet_spans_counts_and_is_named() -> None:
    params = schedule(quiet_hours=["06:00-08:00", "12:00-13:00"], time_zone="Europe/Berlin")
    decision = decide(Situation(at("2026-06-10T12:30", "Europe/Berlin"), 2), params)
    assert decision == Decision("nothing", "quiet hours, 12:00-13:00 Europe/Berlin: 2 files wait")
    assert decide(Situation(at("2026-06-10T09:00", "Europe/Berlin"), 2), params).work == "retrain"


def test_quiet_hours_are_those_of_the_schedules_time_zone() -> None:
    now = at("2026-06-10T22:30")  # in Tokyo it is 07:30 of the next day, in Berlin 00:30
    assert quiet_span(now, schedule(quiet_hours=["06:00-14:00"], time_zone="Asia/Tokyo"))
    assert quiet_span(now, schedule(quiet_hours=["23:00-06:00"], time_zone="Europe/Berlin"))
    assert not quiet_span(now, schedule(quiet_hours=["06:00-14:00"], time_zone="UTC"))
    same = now.astimezone(ZoneInfo("America/New_York"))  # the zone of the moment has no effect
    assert quiet_span(same, schedule(quiet_hours=["06:00-14:00"], time_zone="Asia/Tokyo"))


def test_an_hour_that_the_clocks_repeat_is_quiet_twice() -> None:
    params = schedule(quiet_hours=["02:00-03:00"], time_zone="Europe/Berlin")
    start = datetime(2026, 10, 24, 23, 59, tzinfo=UTC)  # 01:59 in summer time; 02:00 comes twice
    quiet = [minute for minute in range(200) if quiet_span(start + timedelta(minutes=minute), params)]
    assert quiet == list(range(1, 121))
    for fold in (0, 1):
        assert quiet_span(at("2026-10-25T02:30", "Europe/Berlin", fold), params)


def test_an_hour_that_the_clocks_leave_out_is_never_quiet() -> None:
    params = schedule(quiet_hours=["02:00-03:00"], time_zone="Europe/Berlin")
    start = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)  # 01:30; after 01:59 comes 03:00
    assert not any(quiet_span(start + timedelta(minutes=minute), params) for minute in range(120))


def test_quiet_hours_across_a_change_of_the_clocks_end_when_the_wall_says_so() -> None:
    params = schedule(quiet_hours=["22:00-06:00"], time_zone="Europe/Berlin")
    for evening, hours in (("2026-10-24T22:00", 9), ("2026-03-28T22:00", 7), ("2026-06-10T22:00", 8)):
        start = at(evening, "Europe/Berlin")
        assert not quiet_span(start - timedelta(seconds=1), params)
        assert all(quiet_span(start + timedelta(minutes=minute), params) for minute in range(hours * 60))
        assert not quiet_span(start + timedelta(hours=hours), params)


@pytest.mark.parametrize(("built", "work"), [("2026-06-04T00:00", "nothing"), ("2026-06-03T23:59:59", "rebuild")])
def test_a_bank_is_rebuilt_after_so_many_days_of_the_calendar(built: str, work: str) -> None:
    situation = Situation(NOON, 0, last_rebuild=at(built))
    assert decide(situation, schedule(rebuild_after_days=7)).work == work
    assert decide(situation, schedule()).work == "nothing"  # never


def test_a_rebuild_every_day_does_not_slip_by_a_day_because_it_took_minutes() -> None:
    first = at("2026-06-09T02:07")
    decision = decide(Situation(at("2026-06-10T02:00"), 0, last_rebuild=first), schedule(rebuild_after_days=1))
    assert decision == Decision("rebuild", "last built from nothing 1 day ago, at most 1")


def test_days_are_those_of_the_schedules_time_zone() -> None:
    built, now = at("2026-06-09T16:00"), at("2026-06-09T20:00")  # in Tokyo 01:00 and 05:00 of one day
    late = at("2026-06-09T14:00")  # 23:00 of the day before
    params = schedule(rebuild_after_days=1, time_zone="Asia/Tokyo")
    assert decide(Situation(now, 0, last_rebuild=built), params).work == "nothing"
    assert decide(Situation(now, 0, last_rebuild=late), params).work == "rebuild"


def test_a_rebuild_that_is_due_takes_along_what_waits_and_waits_for_quiet_hours_itself() -> None:
    params = schedule(rebuild_after_days=7, minimum_new_images=5, quiet_hours=["12:00-13:00"])
    old = Situation(NOON, 9, last_rebuild=NOON - timedelta(days=30))
    assert decide(old, params).work == "nothing"
    assert decide(Situation(NOON + timedelta(hours=1), 3, last_rebuild=old.last_rebuild), params).work == "rebuild"


def test_a_bank_of_unknown_age_and_one_from_the_future_are_not_rebuilt() -> None:
    params = schedule(rebuild_after_days=1)
    assert decide(Situation(NOON, 0, last_rebuild=None), params).work == "nothing"
    assert decide(Situation(NOON, 0, last_rebuild=NOON + timedelta(days=3)), params).work == "nothing"
