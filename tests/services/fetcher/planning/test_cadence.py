"""When a document of the current day is fetched next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.fetcher.planning.cadence import NO_TIMES, CadenceRules, EventTimes, event_times, next_fetch_at
from services.fetcher.planning.cursor import Timetable

START = datetime(2031, 5, 4, 3, 0, tzinfo=UTC)
START_S = round(START.timestamp())
RULES = CadenceRules(
    near_s=1800, settle_s=3600, near_interval_s=60, interval_s=300, night_interval_s=900, min_publication_gap_s=0
)
ONE_EVENT = EventTimes((START_S,), (START_S,))
TWO_EVENTS = EventTimes((START_S, START_S + 36_000), (START_S, START_S + 36_000))


def delay_s(at: datetime, times: EventTimes, published_at: datetime | None = None, **rules: float) -> float:
    return (next_fetch_at(at, published_at, times, RULES._replace(**rules)) - at).total_seconds()


def minutes_after_start(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def test_an_event_is_near_before_its_start_and_until_it_is_settled() -> None:
    assert delay_s(minutes_after_start(-30), ONE_EVENT) == 60
    assert delay_s(minutes_after_start(60), ONE_EVENT) == 60
    assert delay_s(minutes_after_start(61), ONE_EVENT) == 900
    assert delay_s(minutes_after_start(5), EventTimes((START_S,), ())) == 900


def test_documents_are_fetched_less_between_events_and_least_at_night() -> None:
    assert delay_s(minutes_after_start(120), TWO_EVENTS) == 300
    assert delay_s(minutes_after_start(-120), TWO_EVENTS) == 900


def test_without_a_known_start_the_interval_is_that_between_events() -> None:
    assert delay_s(START, NO_TIMES) == 300


def test_the_fetch_after_a_long_interval_is_not_later_than_the_next_event_is_near() -> None:
    assert delay_s(minutes_after_start(-35), ONE_EVENT) == 300
    assert delay_s(minutes_after_start(-30.5), ONE_EVENT) == 60


def test_nothing_is_fetched_while_the_source_cannot_have_published_again() -> None:
    published_at = minutes_after_start(-10)

    assert delay_s(START, ONE_EVENT, published_at, min_publication_gap_s=1500) == 900
    assert delay_s(minutes_after_start(16), ONE_EVENT, published_at, min_publication_gap_s=1500) == 60


def test_a_publication_in_the_future_is_ignored() -> None:
    assert delay_s(START, ONE_EVENT, minutes_after_start(600), min_publication_gap_s=1500) == 60


def test_the_documents_of_a_day_are_joined_by_event() -> None:
    cards = Timetable({"03:01": 100, "03:02": 200})
    ends = Timetable(settled=frozenset({"03:01"}))

    assert event_times([cards, ends]) == EventTimes([100, 200], [200])
