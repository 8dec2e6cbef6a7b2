"""Windows whose day is over are fetched again: suspect ones, each once after a day, and with a clock that jumps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.cursor import EventDifference, WindowCursor, encode
from services.fetcher.planning.windows import FetchPlan, Window
from services.fetcher.steady_clock import SteadyClock
from shared.clock import Clock
from tests.services.fetcher.site import Site, status
from tests.services.fetcher.synthetic_documents import (
    DAY,
    NOON,
    FetcherDriver,
    SettableClock,
    body,
    event,
    made_source,
    raw_events,
)

CLOSED = datetime(2031, 5, 4, 15, 10, tzinfo=UTC)
"""When the documents of DAY are final."""
ENDS = f"/ends/{DAY:%Y%m%d}.json"
HOUR = timedelta(hours=1)
Start = Callable[..., FetcherDriver]


@pytest.fixture
def start(tmp_path: Path, site: Site) -> Iterator[Start]:
    """Starts a fetcher that follows the current day of a source with one feed, `ends`."""
    fetchers: list[Fetcher] = []

    def start_fetcher(clock: Clock, cursors: dict[str, bytes] | None = None, **overrides: Any) -> FetcherDriver:
        feeds = [made_source().feeds[2].model_dump()]
        source = made_source(site.url, feeds=feeds, **overrides)
        record = clock.record_server_time if isinstance(clock, SteadyClock) else lambda _: None
        documents = HttpSource(source, clock, record_server_time=record)
        archive, plan = DocumentArchive(tmp_path / "archive"), FetchPlan(follow=True)
        fetchers.append(Fetcher(source, documents, archive, plan, clock))
        return FetcherDriver(fetchers[-1], cursors)

    yield start_fetcher
    for fetcher in fetchers:
        fetcher.close()


def publish(site: Site, *events: dict[str, Any]) -> None:
    site.pages["/ends/today.json"] = site.pages[ENDS] = body("ends", events)


def closed_day(
    start: Start, site: Site, clock: SettableClock, *final: dict[str, Any], **overrides: Any
) -> FetcherDriver:
    """A day that was followed with two events, and closed by a document with the events of `final`."""
    publish(site, event(1), event(2))
    driver = start(clock, **overrides)
    driver.run_due_windows()
    publish(site, *final)
    clock.at = CLOSED
    driver.run_due_windows()
    return driver


def suspects(driver: FetcherDriver) -> int:
    driver.step(0)
    return int(driver.fetcher.status()["windows"]["suspect"])


def test_a_suspect_document_is_fetched_again_until_the_answers_are_equal_often_enough(start: Start, site: Site) -> None:
    clock = SettableClock()
    driver = closed_day(start, site, clock, event(1))
    counts = [site.requests.count(ENDS)]

    for wait in (HOUR / 2, HOUR / 2, 2 * HOUR, 8 * HOUR):
        clock.at += wait
        driver.run_due_windows()
        counts.append(site.requests.count(ENDS))

    assert counts == [1, 1, 2, 3, 3]
    assert driver.cursor("ends").is_confirmed
    assert suspects(driver) == 0


def test_the_events_of_a_suspect_document_are_emitted(start: Start, site: Site) -> None:
    driver = closed_day(start, site, SettableClock(), event(1, place=3))

    assert [(each.body.get("place"), each.historical) for each in raw_events(driver.records)][2:] == [(3, True)]
    assert suspects(driver) == 1


@pytest.mark.parametrize("events", [[], [event(1)], [event(1, place=None), event(2, place=None)]])
def test_a_document_that_becomes_complete_is_loaded_and_no_longer_suspect(
    start: Start, site: Site, events: list[dict[str, Any]]
) -> None:
    clock = SettableClock()
    driver = closed_day(start, site, clock, *events, completeness={"values": {"ends": ["place"]}})
    before = suspects(driver)
    publish(site, event(1, place=1), event(2, place=2))

    clock.at += HOUR
    records = driver.run_due_windows()

    assert (before, suspects(driver)) == (1, 0)
    assert {each.body["place"] for each in raw_events(records)} == {1, 2}


def test_back_off_survives_a_restart(start: Start, site: Site) -> None:
    clock = SettableClock()
    first = closed_day(start, site, clock, event(1))
    clock.at += HOUR
    first.run_due_windows()
    requests = site.requests.count(ENDS)

    again = start(clock, first.cursors)
    clock.at += HOUR
    again.run_due_windows()
    too_early = site.requests.count(ENDS)
    clock.at += HOUR
    again.run_due_windows()

    assert (too_early, site.requests.count(ENDS)) == (requests, requests + 1)


def test_an_operator_accepts_a_suspect_window(start: Start, site: Site) -> None:
    clock = SettableClock()
    driver = closed_day(start, site, clock, event(1))
    window = Window("ends", DAY)

    first_answer = driver.fetcher.accept(window)
    driver.step(0)
    driver.step(0)

    assert (first_answer, driver.fetcher.accept(window)) == (False, True)
    assert driver.cursor("ends").is_confirmed
    clock.at += 12 * HOUR
    driver.run_due_windows()
    assert site.requests.count(ENDS) == 1


def test_an_operator_accepts_a_window_that_keeps_failing(start: Start, site: Site) -> None:
    clock = SettableClock()
    publish(site, event(1))
    driver = start(clock)
    driver.run_due_windows()
    site.pages[ENDS] = b"busy"
    clock.at = CLOSED
    driver.run_due_windows()
    failed = driver.cursor("ends").state

    driver.fetcher.accept(Window("ends", DAY))
    driver.step(0)
    clock.at += timedelta(days=2)
    driver.run_due_windows()

    assert (failed, driver.cursor("ends").state, site.requests.count(ENDS)) == ("failed", "done", 1)


def test_a_finished_window_is_fetched_once_more_after_a_day_with_a_conditional_request(
    start: Start, site: Site
) -> None:
    clock, counts, tags = SettableClock(), [], []

    def unchanged(handler: Any) -> None:
        tags.append(handler.headers.get("If-None-Match"))
        handler.answer(304)

    driver = closed_day(start, site, clock, event(1), event(2))
    before = len(driver.records)
    answer = site.answers[ENDS]

    for hours in (23, 1, 1, 24):
        answer.append(unchanged)
        clock.at += hours * HOUR
        driver.run_due_windows()
        counts.append(site.requests.count(ENDS))

    assert counts == [1, 2, 2, 2]
    assert tags == [driver.cursor("ends").etag]
    assert (driver.cursor("ends").equal_answers, len(driver.records)) == (2, before)


def test_a_window_that_says_something_else_raises_an_alarm_with_the_difference(start: Start, site: Site) -> None:
    clock = SettableClock()
    driver = closed_day(start, site, clock, event(1, place=1), event(2, place=2))
    publish(site, event(1, place=1), event(2, place=3), event(3, place=1))

    clock.at += 24 * HOUR
    with capture_logs() as logs:
        driver.run_due_windows()
        driver.step(0)

    change = driver.cursor("ends").change
    assert change is not None
    assert change.events == (
        EventDifference("meadow:2031-05-04:03:02", "changed", ("place",)),
        EventDifference("meadow:2031-05-04:03:03", "added"),
    )
    assert [each["event"] for each in logs if each["event"] == "window_changed"] == ["window_changed"]
    assert driver.fetcher.changed_count == 1


def test_without_the_old_document_the_alarm_names_the_events(start: Start, site: Site, tmp_path: Path) -> None:
    clock = SettableClock()
    driver = closed_day(start, site, clock, event(1, place=1), event(2, place=2))
    for path in (tmp_path / "archive").glob("*/*.zst"):
        path.unlink()
    publish(site, event(1, place=1), event(2, place=3))

    clock.at += 24 * HOUR
    driver.run_due_windows()

    change = driver.cursor("ends").change
    assert change is not None
    assert change.events == (EventDifference("meadow:2031-05-04:03:02", "changed"),)


def test_a_failed_recheck_neither_opens_nor_closes_the_window_again(start: Start, site: Site) -> None:
    clock = SettableClock()
    driver = closed_day(start, site, clock, event(1), event(2))
    before = len(driver.records)
    site.answers[ENDS].extend([status(503)] * 3)

    clock.at += 24 * HOUR
    driver.run_due_windows()
    failed = driver.cursor("ends")
    clock.at += HOUR
    driver.run_due_windows()

    assert (failed.state, failed.attempts, driver.cursor("ends").error) == ("done", 1, None)
    assert len(driver.records) == before


def test_a_document_that_is_gone_is_asked_for_once(start: Start, site: Site) -> None:
    clock = SettableClock()
    driver = closed_day(start, site, clock, event(1), event(2))
    del site.pages[ENDS]

    for _ in range(3):
        clock.at += 24 * HOUR
        driver.run_due_windows()

    assert (site.requests.count(ENDS), driver.cursor("ends").state) == (2, "done")


def test_an_upgrade_emits_nothing_again(start: Start, site: Site) -> None:
    """The cursors of the version before have neither counts of answers nor times of fetches."""
    clock = SettableClock()
    driver = closed_day(start, site, clock, event(1), event(2))
    cursor = driver.cursor("ends")
    old = encode(
        WindowCursor(
            state="done",
            document=cursor.document,
            etag=cursor.etag,
            fetched_at=cursor.fetched_at,
            seen=cursor.seen,
            events=2,
            most_events=3,
        )
    )

    upgraded = start(clock, {f"meadow/ends/{DAY}": old})
    for _ in range(4):
        clock.at += 12 * HOUR
        upgraded.run_due_windows()

    assert upgraded.records == []
    assert site.requests.count(ENDS) > 1


BLOCK_PAGE = b"<html>Are you a robot?</html>"
OTHER_DAY = body("ends", [event(1, DAY - timedelta(days=1))])


def run_for_days(driver: FetcherDriver, clock: SettableClock, days: int) -> None:
    for _ in range(24 * days):
        clock.at += HOUR
        driver.run_due_windows()


@pytest.mark.parametrize("answer", [BLOCK_PAGE, OTHER_DAY])
def test_an_answer_that_is_not_the_document_makes_the_window_suspect_until_the_document_comes(
    start: Start, site: Site, answer: bytes
) -> None:
    clock = SettableClock()
    publish(site, event(1))
    driver = start(clock)
    driver.run_due_windows()
    site.pages[ENDS] = answer
    clock.at = CLOSED
    driver.run_due_windows()
    driver.step(0)
    counts, cause = driver.fetcher.status()["windows"], driver.cursor("ends").error

    publish(site, event(1, place=1), event(2))
    clock.at += timedelta(minutes=1)
    records = driver.run_due_windows()

    assert (counts["suspect"], counts["failed"], counts["done"]) == (1, 0, 0)
    assert cause is not None
    assert [each.body["heat"] for each in raw_events(records)] == [1, 2]
    assert driver.cursor("ends").wrong_document is None
    assert suspects(driver) == 0


def test_a_block_page_never_closes_its_window_but_an_operator_does(start: Start, site: Site) -> None:
    clock = SettableClock()
    publish(site, event(1))
    driver = start(clock)
    driver.run_due_windows()
    site.pages[ENDS] = BLOCK_PAGE
    clock.at = CLOSED
    run_for_days(driver, clock, 5)
    cursor = driver.cursor("ends")

    driver.fetcher.accept(Window("ends", DAY))
    driver.step(0)
    requests = site.requests.count(ENDS)
    run_for_days(driver, clock, 2)

    assert cursor.wrong_document is not None
    assert cursor.wrong_document.equal_answers > 3
    assert (cursor.state, suspects(driver)) == ("failed", 0)
    assert (driver.cursor("ends").state, site.requests.count(ENDS)) == ("done", requests)


def test_equal_documents_of_another_day_close_the_window_and_the_document_that_comes_later_is_loaded(
    start: Start, site: Site
) -> None:
    clock = SettableClock()
    publish(site, event(1), event(2))
    driver = start(clock)
    driver.run_due_windows()
    site.pages[ENDS] = OTHER_DAY
    clock.at, states = CLOSED, []
    for _ in range(4):
        driver.run_due_windows()
        states.append(driver.cursor("ends").state)
        clock.at += HOUR

    publish(site, event(1), event(2, place=1))
    before = len(driver.records)
    run_for_days(driver, clock, 1)

    assert states == ["failed", "failed", "failed", "done"]
    closing = raw_events(driver.records[before:])
    assert [(each.body["heat"], each.historical) for each in closing] == [(1, True), (2, True)]
    assert driver.cursor("ends").change is None


def test_a_window_closed_without_a_document_is_asked_for_once_more(start: Start, site: Site) -> None:
    clock = SettableClock()
    publish(site, event(1))
    driver = start(clock)
    driver.run_due_windows()
    site.pages[ENDS] = OTHER_DAY
    clock.at = CLOSED
    driver.run_due_windows()
    run_for_days(driver, clock, 1)
    closed = site.requests.count(ENDS)

    run_for_days(driver, clock, 4)

    assert (driver.cursor("ends").state, driver.cursor("ends").error) == ("done", None)
    assert site.requests.count(ENDS) == closed + 1


def test_a_wrong_answer_to_a_recheck_leaves_the_final_document(start: Start, site: Site) -> None:
    clock = SettableClock()
    driver = closed_day(start, site, clock, event(1), event(2), completeness={"equal_answers": 1})
    document = driver.cursor("ends").document
    site.pages[ENDS] = OTHER_DAY

    run_for_days(driver, clock, 2)

    assert (driver.cursor("ends").state, driver.cursor("ends").document) == ("done", document)
    assert suspects(driver) == 0


class JumpingMachine:
    """A machine whose wall clock jumps; the server's clock does not."""

    def __init__(self) -> None:
        self.wall, self.elapsed_s, self.true_time = SettableClock(), 0.0, NOON
        self.clock = SteadyClock(self.wall, lambda: self.elapsed_s)

    def run(self, duration: timedelta) -> None:
        self.wall.at += duration
        self.true_time += duration
        self.elapsed_s += duration.total_seconds()


def dated(machine: JumpingMachine, site: Site, path: str) -> None:
    """The server answers the next request for the path with its own time."""

    def answer(handler: Any) -> None:
        handler.date_time_string = lambda *_: machine.true_time.strftime("%a, %d %b %Y %H:%M:%S GMT")
        page_body = site.pages.get(path)
        handler.answer(404 if page_body is None else 200, page_body or b"")

    site.answers[path].append(answer)


@pytest.mark.parametrize("days", [1, -1])
def test_a_wall_clock_that_jumps_while_a_day_is_followed_closes_nothing_and_delays_nothing(
    start: Start, site: Site, days: int
) -> None:
    machine = JumpingMachine()
    publish(site, event(1))
    driver = start(machine.clock)
    dated(machine, site, "/ends/today.json")
    driver.run_due_windows()

    machine.wall.at += timedelta(days=days)
    publish(site, event(1), event(2))
    dated(machine, site, "/ends/today.json")
    machine.run(timedelta(minutes=1))
    during = driver.run_due_windows()

    assert [each.body["heat"] for each in raw_events(during)] == [2]
    assert site.requests.count(ENDS) == 0
    assert driver.cursor("ends").state == "live"
    dated(machine, site, ENDS)
    machine.run(CLOSED - machine.true_time)
    driver.run_due_windows()
    assert driver.cursor("ends").state == "done"


def test_a_machine_that_starts_a_day_ahead_closes_no_day_that_is_not_over(start: Start, site: Site) -> None:
    machine = JumpingMachine()
    machine.true_time -= timedelta(days=1)
    yesterday = DAY - timedelta(days=1)  # the current day of the server
    site.pages[f"/ends/{yesterday:%Y%m%d}.json"] = body("ends", [event(1, yesterday)])
    live = encode(WindowCursor(events=1))
    for _ in range(2):
        dated(machine, site, f"/ends/{yesterday:%Y%m%d}.json")
        dated(machine, site, "/ends/today.json")

    driver = start(machine.clock, {f"meadow/ends/{yesterday}": live})
    driver.run_due_windows()

    assert driver.records == []
    assert driver.cursor("ends", yesterday).state == "live"
