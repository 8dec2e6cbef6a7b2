"""The fetcher driven like the poller loop drives it: history, backfills, failures, live days, reference data."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.coverage import coverage_text
from services.fetcher.planning.cursor import WindowCursor, encode
from services.fetcher.planning.windows import FetchPlan, Window, windows_between
from services.fetcher.sources.recorded_files import RecordedFileSource
from shared.clock import VirtualClock
from tests.services.fetcher.site import Site, delayed, status
from tests.services.fetcher.synthetic_documents import (
    DAY,
    NOON,
    FetcherDriver,
    SettableClock,
    body,
    event,
    event_ids,
    made_source,
    raw_events,
    record_file,
)
from tests.waiting import DEADLINE_S, wait_until

NEXT_DAY = DAY + timedelta(days=1)
FEEDS = ("cards", "looks", "ends")
Start = Callable[..., FetcherDriver]


@pytest.fixture
def start(tmp_path: Path, site: Site) -> Iterator[Start]:
    """Starts a fetcher over HTTP or, if the plan is of an archive, over the recorded files in `tmp_path`."""
    fetchers: list[Fetcher] = []

    def start_fetcher(
        plan: FetchPlan, clock: Any = None, cursors: dict[str, bytes] | None = None, **overrides: Any
    ) -> FetcherDriver:
        clock = clock or SettableClock()
        batch_records = overrides.pop("batch_records", 2000)
        source = made_source(site.url, **overrides)
        documents = RecordedFileSource(source, tmp_path, clock) if plan.recorded else HttpSource(source, clock)
        archive = DocumentArchive(tmp_path / "archive")
        fetchers.append(Fetcher(source, documents, archive, plan, clock, batch_records=batch_records))
        return FetcherDriver(fetchers[-1], cursors)

    yield start_fetcher
    for fetcher in fetchers:
        fetcher.close()


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


def archive_plan(first: date = DAY, last: date = DAY) -> FetchPlan:
    return FetchPlan(first, last, recorded=True)


def record_day(folder: Path, day: date, feeds: tuple[str, ...] = FEEDS) -> None:
    for feed in feeds:
        record_file(folder, feed, day, body(feed, [event(number, day) for number in (1, 2)]))


def publish(site: Site, feed: str, events: list[dict[str, Any]], day: date = DAY) -> None:
    """Like the source, the day's own URL and today's URL have the same document."""
    site.pages[f"/{feed}/today.json"] = site.pages[f"/{feed}/{day:%Y%m%d}.json"] = body(feed, events)


def publish_all(site: Site, day: date = DAY, **fields: Any) -> None:
    for feed in FEEDS:
        publish(site, feed, [event(number, day, **fields) for number in (1, 2)], day)


def archived_files(folder: Path) -> list[Path]:
    """The documents that are archived so far."""
    return list((folder / "archive").glob("*/*.zst"))


def steps_until(run: FetcherDriver, condition: Callable[[], bool]) -> set[Any]:
    """The results of the steps until the condition holds and of one more step: None for a step without records."""
    results: set[Any] = set()

    def step(timeout_s: float) -> None:
        records = run.step(timeout_s)
        results.add(records if records is None else tuple(records))

    def condition_holds() -> bool:
        step(0.05)
        return condition()

    wait_until(condition_holds)
    step(0.3)
    return results


class TestHistory:
    def test_it_is_in_the_order_of_days_and_within_a_day_of_feeds(self, start: Start, tmp_path: Path) -> None:
        for day in days(DAY, 5):
            record_day(tmp_path, day)

        records = start(archive_plan(DAY, DAY + timedelta(days=4))).until_exhausted()

        positions = [(raw.event_key.split(":")[1], FEEDS.index(raw.feed)) for raw in raw_events(records)]
        assert positions == sorted(positions)
        assert len(positions) == 5 * 3 * 2
        assert all(raw.historical for raw in raw_events(records))

    def test_a_slow_document_is_not_overtaken_by_later_ones(self, start: Start, site: Site, tmp_path: Path) -> None:
        for day in days(DAY, 2):
            publish_all(site, day)
        release = threading.Event()
        site.answers[f"/cards/{DAY:%Y%m%d}.json"].append(delayed(release))
        run = start(FetchPlan(DAY, NEXT_DAY), SettableClock(NOON + timedelta(days=30)))

        first_step = run.step(0)
        wait_until(lambda: len(archived_files(tmp_path)) == 5)
        second_step = run.step(0)
        release.set()
        run.until_exhausted()

        assert (first_step, second_step) == (None, None)
        assert [raw.feed for raw in raw_events(run.records)][:6] == ["cards"] * 2 + ["looks"] * 2 + ["ends"] * 2
        assert 1 < site.max_concurrent_requests <= 4

    def test_several_windows_share_a_step_up_to_its_size(self, start: Start, tmp_path: Path) -> None:
        for day in days(DAY, 6):
            record_day(tmp_path, day)
        run = start(archive_plan(DAY, DAY + timedelta(days=5)), batch_records=12)

        sizes = [len(run.step(DEADLINE_S) or []) for _ in range(3)]

        assert sizes == [12, 12, 12]
        assert run.step(0) is None
        assert run.fetcher.status()["exhausted"]

    def test_windows_beyond_a_steps_size_wait_for_the_next_step(self, start: Start, site: Site, tmp_path: Path) -> None:
        for day in days(DAY, 2):
            publish_all(site, day)
        release = threading.Event()
        site.answers[f"/cards/{DAY:%Y%m%d}.json"].append(delayed(release))
        run = start(FetchPlan(DAY, NEXT_DAY), SettableClock(NOON + timedelta(days=30)), batch_records=4)

        assert run.step(0) is None
        wait_until(lambda: len(archived_files(tmp_path)) == 5)
        release.set()
        wait_until(lambda: len(archived_files(tmp_path)) == 6)

        assert [len(run.step(DEADLINE_S) or []) for _ in range(3)] == [4, 4, 4]

    def test_the_same_span_again_gives_no_records(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY)
        first = start(archive_plan())
        first.until_exhausted()

        again = start(archive_plan(), cursors=first.cursors)

        assert again.until_exhausted() == []
        assert again.fetcher.status()["windows"]["done"] == 3

    def test_a_failed_unit_is_repeated_with_the_same_ids(self, start: Start, tmp_path: Path) -> None:
        for day in days(DAY, 3):
            record_day(tmp_path, day)
        run = start(archive_plan(DAY, DAY + timedelta(days=2)), batch_records=2)
        run.step()
        committed = dict(run.cursors)
        lost_step = run.fetcher.next(5.0)

        run.fetcher.load(committed)
        records = run.until_exhausted()

        assert lost_step is not None
        ids = event_ids(records)
        assert set(event_ids(lost_step.records)) < set(ids)
        assert len(ids) == len(set(ids)) == 3 * 3 * 2

    def test_every_document_is_archived(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY)
        run = start(archive_plan())

        run.until_exhausted()

        archive = DocumentArchive(tmp_path / "archive")
        assert {line.hash for line in archive.documents()} == {run.cursor(feed).document for feed in FEEDS}

    def test_days_that_are_not_over_are_not_fetched(self, start: Start, site: Site) -> None:
        for day in (DAY - timedelta(days=1), DAY, NEXT_DAY):
            publish_all(site, day)

        run = start(FetchPlan(DAY - timedelta(days=1), NEXT_DAY))
        run.until_exhausted()

        states = {key.split("/")[2] + " " + run.cursor(*_window(key)).state for key in run.cursors}
        assert states == {"2031-05-03 done"}
        assert run.fetcher.status()["windows"]["missing"] == 0

    def test_a_missing_document_is_requested_again_in_the_next_run(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY, ("cards", "ends"))
        first = start(archive_plan())
        first.until_exhausted()
        record_day(tmp_path, DAY, ("looks",))

        again = start(archive_plan(), cursors=first.cursors)

        assert first.fetcher.status()["windows"] == {"due": 0, "done": 2, "failed": 0, "missing": 1, "suspect": 0}
        assert {raw.feed for raw in raw_events(again.until_exhausted())} == {"looks"}


class TestBackfill:
    def test_days_of_the_span_without_a_document_are_named(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY)
        record_day(tmp_path, DAY + timedelta(days=2), FEEDS[:1])
        record_file(tmp_path, "cards", DAY + timedelta(days=3), b"busy")

        run = start(archive_plan(DAY, DAY + timedelta(days=4)))
        run.until_exhausted()

        assert coverage_text(run.fetcher.status()["days"]) == "2 of 5; none for 2031-05-05, 2031-05-07 to 2031-05-08"

    def test_days_that_are_not_read_yet_are_not_missing(self, start: Start, tmp_path: Path) -> None:
        for day in days(DAY, 3):
            record_day(tmp_path, day)

        run = start(archive_plan(DAY, DAY + timedelta(days=2)), batch_records=1)
        run.step()

        assert run.fetcher.status()["days"]["missing"] == []

    def test_the_days_of_a_source_that_is_followed_are_not_counted(self, start: Start, site: Site) -> None:
        publish_all(site)

        run = start(FetchPlan(DAY, DAY), SettableClock(NOON + timedelta(days=1)))
        run.until_exhausted()

        assert "days" not in run.fetcher.status()

    def test_windows_beyond_the_plan_are_fetched_once_and_counted(self, start: Start, tmp_path: Path) -> None:
        for day in days(DAY, 3):
            record_day(tmp_path, day)
        run = start(archive_plan(DAY, DAY))
        run.until_exhausted()
        assert run.fetcher.backfill_counts("b") is None

        windows = list(windows_between(DAY, DAY + timedelta(days=3), FEEDS))
        run.fetcher.backfill("b", windows, again=False)
        run.fetcher.backfill("b", windows, again=False)
        wait_until(lambda: run.step(0.05) is None and (run.fetcher.backfill_counts("b") or {}).get("due") == 0)

        assert run.fetcher.backfill_counts("b") == {"due": 0, "done": 9, "failed": 0, "missing": 3}
        assert len(event_ids(run.records)) == len(set(event_ids(run.records))) == 3 * 3 * 2

    def test_again_fetches_done_windows_and_emits_changes(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY)
        run = start(archive_plan())
        run.until_exhausted()
        before = len(run.records)
        record_file(tmp_path, "cards", DAY, body("cards", [event(1, DAY), event(2, DAY, grade=5)]))

        run.fetcher.backfill("b", [Window("cards", DAY)], again=True)
        wait_until(lambda: run.step(0.05) is None and (run.fetcher.backfill_counts("b") or {}).get("due") == 0)

        changed = raw_events(run.records[before:])
        assert [(each.feed, each.ordinal) for each in changed] == [("cards", 2)]

    def test_windows_of_a_failed_unit_are_fetched_again(self, start: Start, tmp_path: Path) -> None:
        for day in days(DAY, 2):
            record_day(tmp_path, day)
        run = start(archive_plan(DAY, DAY))
        run.until_exhausted()
        committed = dict(run.cursors)
        run.fetcher.backfill("b", [Window("cards", NEXT_DAY)], again=False)
        wait_until(lambda: run.fetcher.next(0.05) is not None)  # the step is returned, but its unit fails

        run.fetcher.load(committed)
        wait_until(lambda: run.step(0.05) is None and (run.fetcher.backfill_counts("b") or {}).get("due") == 0)

        assert run.cursor("cards", NEXT_DAY).state == "done"


class TestFailures:
    @pytest.mark.parametrize(
        "content",
        [
            b"busy",
            b'{"other": []}',
            b'{"looks": [1, 2]}',
            b" " * 1_000_001,
            pytest.param(b'{"other":' + b"[" * 2000 + b"]" * 2000 + b',"looks":[]}', id="nested"),
        ],
    )
    def test_an_invalid_document_fails_only_its_window(self, start: Start, tmp_path: Path, content: bytes) -> None:
        for day in days(DAY, 2):
            record_day(tmp_path, day)
        record_file(tmp_path, "looks", DAY, content)

        run = start(archive_plan(DAY, NEXT_DAY))
        records = run.until_exhausted()

        assert len(records) == 5 * 2
        assert run.fetcher.status()["windows"] == {"due": 0, "done": 5, "failed": 1, "missing": 0, "suspect": 0}
        assert list(run.failed()) == ["meadow/looks/2031-05-04"]
        assert "looks/2031/20310504.json.gz" in run.failed()["meadow/looks/2031-05-04"]

    def test_a_truncated_file_fails_its_window(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY)
        path = record_file(tmp_path, "ends", DAY, body("ends", [event(1)]))
        path.write_bytes(path.read_bytes()[:-5])

        run = start(archive_plan())
        run.until_exhausted()

        assert "is truncated" in run.failed()["meadow/ends/2031-05-04"]

    def test_a_failed_window_is_retried_in_the_next_run_and_not_before(self, start: Start, tmp_path: Path) -> None:
        record_file(tmp_path, "cards", DAY, b"busy")
        first = start(archive_plan())
        first.until_exhausted()
        record_file(tmp_path, "cards", DAY, body("cards", [event(1)]))

        first.fetcher.load(first.cursors)
        same_run = list(first.until_exhausted())
        again = start(archive_plan(), cursors=first.cursors)

        assert same_run == []
        assert len(again.until_exhausted()) == 1
        assert again.failed() == {}
        assert again.cursor("cards").state == "done"

    def test_attempts_are_counted_over_runs(self, start: Start, tmp_path: Path) -> None:
        record_file(tmp_path, "cards", DAY, b"busy")
        cursors: dict[str, bytes] = {}

        for _ in range(3):
            start(archive_plan(), cursors=cursors).until_exhausted()

        assert start(archive_plan(), cursors=cursors).cursor("cards").attempts == 3

    def test_a_server_that_fails_once_costs_only_one_try(self, start: Start, site: Site) -> None:
        publish_all(site)
        path = f"/cards/{DAY:%Y%m%d}.json"
        site.answers[path].append(status(503))

        run = start(FetchPlan(DAY, DAY), SettableClock(NOON + timedelta(days=1)))
        records = run.until_exhausted()

        assert (len(records), site.requests.count(path), run.failed()) == (6, 2, {})

    def test_a_server_that_keeps_failing_fails_the_window(self, start: Start, site: Site) -> None:
        publish_all(site)
        site.answers[f"/cards/{DAY:%Y%m%d}.json"].extend([status(503)] * 3)

        run = start(FetchPlan(DAY, DAY), SettableClock(NOON + timedelta(days=1)))
        run.until_exhausted()

        assert len(run.records) == 4
        assert "503" in run.failed()["meadow/cards/2031-05-04"]
        assert "3 tries" in run.failed()["meadow/cards/2031-05-04"]

    def test_a_failed_past_window_is_retried_while_following(self, start: Start, site: Site) -> None:
        publish_all(site)
        site.pages[f"/cards/{DAY:%Y%m%d}.json"] = b"busy"
        clock = SettableClock(NOON + timedelta(days=1))
        run = start(FetchPlan(DAY, DAY, follow=True), clock)
        run.until_exhausted()
        publish(site, "cards", [event(1)])

        run.run_due_windows()
        state_before = run.cursor("cards").state
        clock.at += timedelta(seconds=60)
        run.run_due_windows()

        assert (state_before, run.cursor("cards").state) == ("failed", "done")

    def test_a_retry_is_not_forgotten_when_a_day_ends_meanwhile(self, start: Start, site: Site) -> None:
        for day in (DAY, NEXT_DAY):
            publish_all(site, day)
        site.pages[f"/cards/{DAY:%Y%m%d}.json"] = b"busy"
        clock = SettableClock(datetime(2031, 5, 5, 15, 9, 50, tzinfo=UTC))  # 10 s before the second day is final
        run = start(FetchPlan(DAY, NEXT_DAY, follow=True), clock)
        run.run_due_windows()
        site.pages[f"/cards/{DAY:%Y%m%d}.json"] = body("cards", [event(1)])

        clock.at += timedelta(seconds=10)
        run.run_due_windows()
        closed, waiting = run.cursor("cards", NEXT_DAY).state, run.cursor("cards").state
        clock.at += timedelta(seconds=50)
        run.run_due_windows()

        assert (closed, waiting, run.cursor("cards").state) == ("done", "failed", "done")

    def test_a_slice_without_identity_is_a_dead_letter(self, start: Start, tmp_path: Path) -> None:
        record_file(tmp_path, "cards", DAY, body("cards", [event(1), {"day": "2031-05-04"}]))

        run = start(archive_plan())
        run.until_exhausted()

        assert [record.topic for record in run.records] == ["raw-events", "fetcher.dlq"]
        assert run.failed() == {}


class TestLive:
    def test_each_poll_gives_the_changed_events(self, start: Start, site: Site) -> None:
        clock = SettableClock()
        publish_all(site)
        run = start(FetchPlan(follow=True), clock)

        first = run.run_due_windows()
        too_early = run.run_due_windows()
        publish(site, "looks", [event(1), event(2, time=6.8)])
        clock.at += timedelta(seconds=60)
        second = run.run_due_windows()

        assert sorted(raw.feed for raw in raw_events(first)) == ["cards"] * 2 + ["ends"] * 2 + ["looks"] * 2
        assert too_early == []
        assert [(raw.feed, raw.body["heat"], raw.historical) for raw in raw_events(second)] == [("looks", 2, False)]

    def test_an_unchanged_document_gives_no_records_and_no_cursors(self, start: Start, site: Site) -> None:
        clock = SettableClock()
        publish_all(site)
        run = start(FetchPlan(follow=True), clock)
        run.run_due_windows()
        request_count = len(site.requests)

        clock.at += timedelta(seconds=60)
        steps = steps_until(run, lambda: len(site.requests) >= request_count + 3)

        assert steps == {None}
        assert len(site.requests) == request_count + 3

    def test_an_unchanged_document_of_a_server_without_etags_gives_nothing_either(
        self, start: Start, site: Site
    ) -> None:
        clock = SettableClock()
        run = start(FetchPlan(follow=True), clock)
        content = body("cards", [event(1)])
        site.answers["/cards/today.json"].extend([lambda handler: handler.answer(200, content)] * 2)
        run.run_due_windows()

        clock.at += timedelta(seconds=60)

        assert steps_until(run, lambda: not site.answers["/cards/today.json"]) == {None}

    def test_an_etag_that_cannot_be_sent_back_is_not_stored(self, start: Start, site: Site) -> None:
        clock = SettableClock()
        content = body("cards", [event(1)])
        run = start(FetchPlan(follow=True), clock)
        for path in ("/cards/today.json", f"/cards/{DAY:%Y%m%d}.json"):
            site.answers[path].extend([lambda handler: handler.answer(200, content, ETag='"\xe9"')] * 9)

        for _ in range(3):
            run.run_due_windows()
            clock.at += timedelta(seconds=60)

        assert site.requests.count("/cards/today.json") == 3
        assert (run.cursor("cards").etag, run.failed(), len(run.records)) == (None, {}, 1)

    def test_a_stored_etag_that_cannot_be_sent_is_ignored(self, start: Start, site: Site) -> None:
        publish_all(site)
        invalid_etags = {f"meadow/{feed}/{DAY}": encode(WindowCursor(etag='"\xe9"')) for feed in FEEDS}
        run = start(FetchPlan(follow=True), cursors=invalid_etags)

        assert len(run.run_due_windows()) == 6
        assert run.failed() == {}
        assert all(run.cursor(feed).etag != '"\xe9"' for feed in FEEDS)

    def test_a_restart_continues_from_the_cursors(self, start: Start, site: Site) -> None:
        publish_all(site)
        first = start(FetchPlan(follow=True))
        first.run_due_windows()

        again = start(FetchPlan(follow=True), cursors=first.cursors)

        assert again.run_due_windows() == []

    def test_yesterdays_document_at_todays_url_is_ignored(self, start: Start, site: Site) -> None:
        publish_all(site, DAY - timedelta(days=1))
        clock = SettableClock()
        run = start(FetchPlan(follow=True), clock)

        first_poll = run.run_due_windows()
        publish_all(site, DAY)
        clock.at += timedelta(seconds=60)
        today = run.run_due_windows()

        assert first_poll == []
        assert run.failed() == {}
        assert len(today) == 6

    def test_a_failed_poll_is_repeated_and_a_successful_one_clears_the_failure(self, start: Start, site: Site) -> None:
        clock = SettableClock()
        publish_all(site)
        run = start(FetchPlan(follow=True), clock)
        run.run_due_windows()
        site.answers["/cards/today.json"].append(lambda handler: handler.answer(200, b"busy"))

        clock.at += timedelta(seconds=60)
        run.run_due_windows()
        failed = dict(run.failed())
        clock.at += timedelta(seconds=60)
        records = run.run_due_windows()

        assert list(failed) == ["meadow/cards/2031-05-04"]
        assert (run.failed(), records) == ({}, [])
        assert run.cursor("cards").state == "live"

    def test_a_day_is_closed_by_its_final_documents(self, start: Start, site: Site) -> None:
        clock = SettableClock()
        publish_all(site)
        run = start(FetchPlan(follow=True), clock)
        run.run_due_windows()
        publish(site, "ends", [event(1), event(2, place=3)])
        publish(site, "cards", [event(1), event(2, w=52)])

        clock.at = datetime(2031, 5, 4, 15, 9, tzinfo=UTC)  # past midnight, before the documents are final
        before = run.run_due_windows()
        clock.at = datetime(2031, 5, 4, 15, 10, tzinfo=UTC)
        after = run.run_due_windows()

        assert before == []
        changes = [(raw.feed, raw.event_key[-2:], raw.ordinal) for raw in raw_events(after)]
        assert changes == [("cards", "02", 2), ("ends", "01", 2), ("ends", "02", 2)]
        assert all(raw.historical for raw in raw_events(after))
        assert {run.cursor(feed).state for feed in FEEDS} == {"done"}

    def test_a_closed_day_stays_closed(self, start: Start, site: Site) -> None:
        clock = SettableClock()
        publish_all(site)
        first = start(FetchPlan(follow=True), clock)
        first.run_due_windows()
        clock.at = datetime(2031, 5, 4, 15, 10, tzinfo=UTC)
        first.run_due_windows()

        again = start(FetchPlan(DAY, follow=True), clock, cursors=first.cursors)

        assert again.run_due_windows() == []

    def test_days_missed_while_the_fetcher_was_stopped_are_fetched(self, start: Start, site: Site) -> None:
        publish_all(site)
        first = start(FetchPlan(follow=True))
        first.run_due_windows()
        for day in days(NEXT_DAY, 3):
            publish_all(site, day)

        again = start(FetchPlan(follow=True), SettableClock(NOON + timedelta(days=3)), cursors=first.cursors)
        records = again.run_due_windows()

        days_fetched = {(raw.event_key.split(":")[1], raw.historical) for raw in raw_events(records)}
        assert days_fetched == {("2031-05-04", True), ("2031-05-05", True), ("2031-05-06", True), ("2031-05-07", False)}

    def test_following_ends_with_the_last_day(self, start: Start, site: Site) -> None:
        clock = SettableClock()
        publish_all(site)
        run = start(FetchPlan(DAY, DAY, follow=True), clock)
        run.run_due_windows()
        during = run.fetcher.status()["exhausted"]
        clock.at = datetime(2031, 5, 4, 15, 10, tzinfo=UTC)

        run.until_exhausted()

        assert during is False
        assert {run.cursor(feed).state for feed in FEEDS} == {"done"}

    def test_a_fast_clock_makes_windows_due_sooner(self, start: Start, site: Site) -> None:
        publish_all(site)
        run = start(FetchPlan(follow=True), VirtualClock(NOON, speed=600, epoch_s=time.time()))
        run.run_due_windows()
        publish(site, "cards", [event(1, w=52), event(2)])

        records = run.step(30)  # less than the poll interval of 60 s, at 600 times the speed

        assert records is not None

    def test_close_ends_a_wait(self, start: Start) -> None:
        run = start(FetchPlan(follow=True))
        run.run_due_windows()
        closer = threading.Timer(0.05, run.fetcher.close)
        closer.start()
        started_at = time.monotonic()

        assert run.fetcher.next(2 * DEADLINE_S) is None

        closer.join()
        assert time.monotonic() - started_at < DEADLINE_S


class TestReferenceData:
    REFERENCE = {"tracks": {3: "Brook", 4: {"name": "Hill", "steep": True}}, "grades": {1: "A"}}  # noqa: RUF012

    def test_each_table_is_emitted_first_and_once(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY)
        first = start(archive_plan(), reference=self.REFERENCE)
        first.until_exhausted()

        again = start(archive_plan(), cursors=first.cursors, reference=self.REFERENCE)

        raws = raw_events(first.records)
        assert [raw.event_key for raw in raws[:2]] == ["meadow:reference:tracks", "meadow:reference:grades"]
        assert {raw.feed for raw in raws[:2]} == {"reference"}
        assert {raw.feed for raw in raws[2:]} == set(FEEDS)
        assert raws[0].body["rows"][1] == {"code": "4", "name": "Hill", "attributes": {"steep": True}}
        assert again.until_exhausted() == []

    def test_a_changed_table_is_emitted_again(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY)
        first = start(archive_plan(), reference=self.REFERENCE)
        first.until_exhausted()

        changed = self.REFERENCE | {"grades": {1: "A", 2: "B"}}
        again = start(archive_plan(), cursors=first.cursors, reference=changed)

        (raw,) = raw_events(again.until_exhausted())
        assert (raw.event_key, raw.ordinal) == ("meadow:reference:grades", 2)


def _window(key: str) -> tuple[str, date]:
    _, feed, day = key.split("/")
    return feed, date.fromisoformat(day)


class TestWarning:
    """The warning of a fetcher that has fetched nothing."""

    def test_a_plan_that_begins_later_is_reported(self, start: Start) -> None:
        driver = start(FetchPlan(NEXT_DAY, NEXT_DAY))

        driver.until_exhausted()

        assert driver.fetcher.status()["warning"] == (
            "no window of 2031-05-05 to 2031-05-05 is due; the next is due at 2031-05-05 00:00+09:00"
        )

    def test_a_source_whose_season_is_over_is_reported_once(self, start: Start) -> None:
        with capture_logs() as logs:
            driver = start(FetchPlan(follow=True))
            driver.run_due_windows()
            driver.step(0.01)

        warning = "the source has no document of 2031-05-04; the next is due at 2031-05-04 12:01+09:00"
        assert driver.fetcher.status()["warning"] == warning
        assert [each for each in logs if each["event"] == "no_window_due"] == [
            {"event": "no_window_due", "log_level": "warning", "reason": warning}
        ]

    def test_a_fetcher_with_a_document_has_no_warning(self, start: Start, site: Site) -> None:
        publish(site, "cards", [event(1)])
        driver = start(FetchPlan(follow=True))

        driver.run_due_windows()

        assert driver.fetcher.status()["warning"] is None


class TestSuspectWindows:
    @pytest.fixture
    def driver(self, start: Start, site: Site) -> FetcherDriver:
        """A past day whose last document has one of two events."""
        for feed in FEEDS:
            publish(site, feed, [event(number) for number in ((1,) if feed == "ends" else (1, 2))])
        driver = start(FetchPlan(DAY, DAY), SettableClock(NOON + timedelta(days=3)))
        driver.until_exhausted()
        return driver

    def counts(self, driver: FetcherDriver) -> tuple[int, int]:
        windows = driver.fetcher.status()["windows"]
        return windows["suspect"], windows["done"]

    def test_a_document_with_fewer_events_than_those_of_other_feeds_is_suspect(self, driver: FetcherDriver) -> None:
        assert self.counts(driver) == (1, 3)

    def test_a_backfill_of_the_complete_document_ends_the_suspicion(self, driver: FetcherDriver, site: Site) -> None:
        publish(site, "ends", [event(1), event(2)])

        driver.fetcher.backfill("b", [Window("ends", DAY)], again=True)
        driver.step()

        driver.step(0)
        assert self.counts(driver) == (0, 3)

    def test_the_declared_number_of_equal_answers_ends_the_suspicion(self, driver: FetcherDriver) -> None:
        suspects = []
        for name in ("second", "third"):
            driver.fetcher.backfill(name, [Window("ends", DAY)], again=True)
            driver.step()
            driver.step(0)
            suspects.append(self.counts(driver)[0])

        assert suspects == [1, 0]
        assert driver.cursor("ends").is_confirmed
