from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.planning.coverage import coverage_text
from services.fetcher.planning.cursor import WindowCursor, encode
from services.fetcher.planning.windows import FetchPlan, Window, windows_between
from services.fetcher.sources.http import HttpSource
from services.fetcher.sources.recorded_files import RecordedFileSource
from shared.clock import VirtualClock
from tests.services.fetcher.made import DAY, NOON, Run, SetClock, body, event, event_ids, made_source, raw_events
from tests.services.fetcher.made import record_file as record
from tests.services.fetcher.site import Site, held, status
from tests.waiting import DEADLINE_S, wait_until

NEXT_DAY = DAY + timedelta(days=1)
FEEDS = ("cards", "looks", "ends")
Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path, site: Site) -> Iterator[Start]:
    """Starts a fetcher over HTTP, or over the recorded files in `tmp_path` where the plan is of an archive."""
    fetchers: list[Fetcher] = []

    def started(plan: FetchPlan, clock: Any = None, cursors: dict[str, bytes] | None = None, **over: Any) -> Run:
        clock = clock or SetClock()
        batch_records = over.pop("batch_records", 2000)
        source = made_source(site.url, **over)
        documents = RecordedFileSource(source, tmp_path, clock) if plan.recorded else HttpSource(source, clock)
        keeper = DocumentArchive(tmp_path / "archive")
        fetchers.append(Fetcher(source, documents, keeper, plan, clock, batch_records=batch_records))
        return Run(fetchers[-1], cursors)

    yield started
    for fetcher in fetchers:
        fetcher.close()


def days(first: date, count: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(count)]


def archive_plan(first: date = DAY, last: date = DAY) -> FetchPlan:
    return FetchPlan(first, last, recorded=True)


def record_day(folder: Path, day: date, feeds: tuple[str, ...] = FEEDS) -> None:
    for feed in feeds:
        record(folder, feed, day, body(feed, [event(number, day) for number in (1, 2)]))


def publish(site: Site, feed: str, events: list[dict[str, Any]], day: date = DAY) -> None:
    """As the source does: the day's own address and today's show the same."""
    site.pages[f"/{feed}/today.json"] = site.pages[f"/{feed}/{day:%Y%m%d}.json"] = body(feed, events)


def publish_all(site: Site, day: date = DAY, **fields: Any) -> None:
    for feed in FEEDS:
        publish(site, feed, [event(number, day, **fields) for number in (1, 2)], day)


def kept_in(folder: Path) -> list[Path]:
    """The documents that were fetched so far."""
    return list((folder / "archive").glob("*/*.zst"))


def steps_until(run: Run, condition: Callable[[], bool]) -> set[Any]:
    """What the steps gave until the condition held, and a while after: None where they gave nothing."""
    found: set[Any] = set()

    def step(timeout_s: float) -> None:
        given = run.step(timeout_s)
        found.add(given if given is None else tuple(given))

    def holds() -> bool:
        step(0.05)
        return condition()

    wait_until(holds)
    step(0.3)
    return found


class TestHistory:
    def test_it_comes_by_day_and_within_a_day_in_the_order_of_the_feeds(self, start: Start, tmp_path: Path) -> None:
        for day in days(DAY, 5):
            record_day(tmp_path, day)

        records = start(archive_plan(DAY, DAY + timedelta(days=4))).until_exhausted()

        found = [(raw.event_key.split(":")[1], FEEDS.index(raw.feed)) for raw in raw_events(records)]
        assert found == sorted(found)
        assert len(found) == 5 * 3 * 2
        assert all(raw.historical for raw in raw_events(records))

    def test_a_slow_document_does_not_let_later_ones_pass(self, start: Start, site: Site, tmp_path: Path) -> None:
        for day in days(DAY, 2):
            publish_all(site, day)
        go = threading.Event()
        site.answers[f"/cards/{DAY:%Y%m%d}.json"].append(held(go))
        run = start(FetchPlan(DAY, NEXT_DAY), SetClock(NOON + timedelta(days=30)))

        early = run.step(0)
        wait_until(lambda: len(kept_in(tmp_path)) == 5)
        still = run.step(0)
        go.set()
        run.until_exhausted()

        assert (early, still) == (None, None)
        assert [raw.feed for raw in raw_events(run.records)][:6] == ["cards"] * 2 + ["looks"] * 2 + ["ends"] * 2
        assert 1 < site.most_at_once <= 4

    def test_several_windows_share_a_step_up_to_its_size(self, start: Start, tmp_path: Path) -> None:
        for day in days(DAY, 6):
            record_day(tmp_path, day)
        run = start(archive_plan(DAY, DAY + timedelta(days=5)), batch_records=12)

        sizes = [len(run.step(DEADLINE_S) or []) for _ in range(3)]

        assert sizes == [12, 12, 12]
        assert run.step(0) is None
        assert run.fetcher.status()["exhausted"]

    def test_what_is_ready_beyond_a_steps_size_waits_for_the_next(
        self, start: Start, site: Site, tmp_path: Path
    ) -> None:
        for day in days(DAY, 2):
            publish_all(site, day)
        go = threading.Event()
        site.answers[f"/cards/{DAY:%Y%m%d}.json"].append(held(go))
        run = start(FetchPlan(DAY, NEXT_DAY), SetClock(NOON + timedelta(days=30)), batch_records=4)

        assert run.step(0) is None
        wait_until(lambda: len(kept_in(tmp_path)) == 5)
        go.set()
        wait_until(lambda: len(kept_in(tmp_path)) == 6)

        assert [len(run.step(DEADLINE_S) or []) for _ in range(3)] == [4, 4, 4]

    def test_the_same_span_again_brings_nothing(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY)
        first = start(archive_plan())
        first.until_exhausted()

        again = start(archive_plan(), cursors=first.cursors)

        assert again.until_exhausted() == []
        assert again.fetcher.status()["windows"]["done"] == 3

    def test_an_unit_that_failed_is_given_again_with_the_same_ids(self, start: Start, tmp_path: Path) -> None:
        for day in days(DAY, 3):
            record_day(tmp_path, day)
        run = start(archive_plan(DAY, DAY + timedelta(days=2)), batch_records=2)
        run.step()
        committed = dict(run.cursors)
        lost = run.fetcher.next(5.0)

        run.fetcher.load(committed)
        records = run.until_exhausted()

        assert lost is not None
        ids = event_ids(records)
        assert set(event_ids(lost.records)) < set(ids)
        assert len(ids) == len(set(ids)) == 3 * 3 * 2

    def test_every_document_is_kept(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY)
        run = start(archive_plan())

        run.until_exhausted()

        kept = DocumentArchive(tmp_path / "archive")
        assert {line.hash for line in kept.documents()} == {run.cursor(feed).document for feed in FEEDS}

    def test_days_that_are_not_over_wait(self, start: Start, site: Site) -> None:
        for day in (DAY - timedelta(days=1), DAY, NEXT_DAY):
            publish_all(site, day)

        run = start(FetchPlan(DAY - timedelta(days=1), NEXT_DAY))
        run.until_exhausted()

        standing = {key.split("/")[2] + " " + run.cursor(*_window(key)).state for key in run.cursors}
        assert standing == {"2031-05-03 done"}
        assert run.fetcher.status()["windows"]["missing"] == 0

    def test_a_missing_document_is_asked_for_again_in_the_next_run(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY, ("cards", "ends"))
        first = start(archive_plan())
        first.until_exhausted()
        record_day(tmp_path, DAY, ("looks",))

        again = start(archive_plan(), cursors=first.cursors)

        assert first.fetcher.status()["windows"] == {"due": 0, "done": 2, "failed": 0, "missing": 1}
        assert {raw.feed for raw in raw_events(again.until_exhausted())} == {"looks"}


class TestBackfill:
    def test_days_of_the_span_without_a_document_are_named(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY)
        record_day(tmp_path, DAY + timedelta(days=2), FEEDS[:1])
        record(tmp_path, "cards", DAY + timedelta(days=3), b"busy")

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

        run = start(FetchPlan(DAY, DAY), SetClock(NOON + timedelta(days=1)))
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

    def test_again_fetches_what_is_done_and_tells_what_changed(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY)
        run = start(archive_plan())
        run.until_exhausted()
        before = len(run.records)
        record(tmp_path, "cards", DAY, body("cards", [event(1, DAY), event(2, DAY, grade=5)]))

        run.fetcher.backfill("b", [Window("cards", DAY)], again=True)
        wait_until(lambda: run.step(0.05) is None and (run.fetcher.backfill_counts("b") or {}).get("due") == 0)

        changed = raw_events(run.records[before:])
        assert [(each.feed, each.ordinal) for each in changed] == [("cards", 2)]

    def test_what_was_out_when_a_unit_failed_is_visited_again(self, start: Start, tmp_path: Path) -> None:
        for day in days(DAY, 2):
            record_day(tmp_path, day)
        run = start(archive_plan(DAY, DAY))
        run.until_exhausted()
        committed = dict(run.cursors)
        run.fetcher.backfill("b", [Window("cards", NEXT_DAY)], again=False)
        wait_until(lambda: run.fetcher.next(0.05) is not None)  # given, and its unit fails

        run.fetcher.load(committed)
        wait_until(lambda: run.step(0.05) is None and (run.fetcher.backfill_counts("b") or {}).get("due") == 0)

        assert run.cursor("cards", NEXT_DAY).state == "done"


class TestTrouble:
    @pytest.mark.parametrize(
        "wrong",
        [
            b"busy",
            b'{"other": []}',
            b'{"looks": [1, 2]}',
            b" " * 1_000_001,
            pytest.param(b'{"other":' + b"[" * 2000 + b"]" * 2000 + b',"looks":[]}', id="nested"),
        ],
    )
    def test_a_wrong_document_fails_its_window_and_the_rest_goes_on(
        self, start: Start, tmp_path: Path, wrong: bytes
    ) -> None:
        for day in days(DAY, 2):
            record_day(tmp_path, day)
        record(tmp_path, "looks", DAY, wrong)

        run = start(archive_plan(DAY, NEXT_DAY))
        records = run.until_exhausted()

        assert len(records) == 5 * 2
        assert run.fetcher.status()["windows"] == {"due": 0, "done": 5, "failed": 1, "missing": 0}
        assert list(run.failed()) == ["meadow/looks/2031-05-04"]
        assert "looks/2031/20310504.json.gz" in run.failed()["meadow/looks/2031-05-04"]

    def test_a_cut_off_file_fails_its_window(self, start: Start, tmp_path: Path) -> None:
        record_day(tmp_path, DAY)
        path = record(tmp_path, "ends", DAY, body("ends", [event(1)]))
        path.write_bytes(path.read_bytes()[:-5])

        run = start(archive_plan())
        run.until_exhausted()

        assert "is truncated" in run.failed()["meadow/ends/2031-05-04"]

    def test_a_failed_window_is_tried_in_the_next_run_and_not_before(self, start: Start, tmp_path: Path) -> None:
        record(tmp_path, "cards", DAY, b"busy")
        first = start(archive_plan())
        first.until_exhausted()
        record(tmp_path, "cards", DAY, body("cards", [event(1)]))

        first.fetcher.load(first.cursors)
        same_run = list(first.until_exhausted())
        again = start(archive_plan(), cursors=first.cursors)

        assert same_run == []
        assert len(again.until_exhausted()) == 1
        assert again.failed() == {}
        assert again.cursor("cards").state == "done"

    def test_attempts_are_counted_over_runs(self, start: Start, tmp_path: Path) -> None:
        record(tmp_path, "cards", DAY, b"busy")
        cursors: dict[str, bytes] = {}

        for _ in range(3):
            start(archive_plan(), cursors=cursors).until_exhausted()

        assert start(archive_plan(), cursors=cursors).cursor("cards").attempts == 3

    def test_a_server_that_fails_once_costs_a_try_only(self, start: Start, site: Site) -> None:
        publish_all(site)
        path = f"/cards/{DAY:%Y%m%d}.json"
        site.answers[path].append(status(503))

        run = start(FetchPlan(DAY, DAY), SetClock(NOON + timedelta(days=1)))
        records = run.until_exhausted()

        assert (len(records), site.requests.count(path), run.failed()) == (6, 2, {})

    def test_a_server_that_goes_on_failing_fails_the_window(self, start: Start, site: Site) -> None:
        publish_all(site)
        site.answers[f"/cards/{DAY:%Y%m%d}.json"].extend([status(503)] * 3)

        run = start(FetchPlan(DAY, DAY), SetClock(NOON + timedelta(days=1)))
        run.until_exhausted()

        assert len(run.records) == 4
        assert "503" in run.failed()["meadow/cards/2031-05-04"]
        assert "3 tries" in run.failed()["meadow/cards/2031-05-04"]

    def test_while_following_a_failed_past_window_is_tried_again_later(self, start: Start, site: Site) -> None:
        publish_all(site)
        site.pages[f"/cards/{DAY:%Y%m%d}.json"] = b"busy"
        clock = SetClock(NOON + timedelta(days=1))
        run = start(FetchPlan(DAY, DAY, follow=True), clock)
        run.until_exhausted()
        publish(site, "cards", [event(1)])

        run.round()
        early = run.cursor("cards").state
        clock.at += timedelta(seconds=60)
        run.round()

        assert (early, run.cursor("cards").state) == ("failed", "done")

    def test_a_day_that_ends_meanwhile_does_not_make_a_retry_forgotten(self, start: Start, site: Site) -> None:
        for day in (DAY, NEXT_DAY):
            publish_all(site, day)
        site.pages[f"/cards/{DAY:%Y%m%d}.json"] = b"busy"
        clock = SetClock(datetime(2031, 5, 5, 15, 9, 50, tzinfo=UTC))  # 10 s before the second day is final
        run = start(FetchPlan(DAY, NEXT_DAY, follow=True), clock)
        run.round()
        site.pages[f"/cards/{DAY:%Y%m%d}.json"] = body("cards", [event(1)])

        clock.at += timedelta(seconds=10)
        run.round()
        closed, waiting = run.cursor("cards", NEXT_DAY).state, run.cursor("cards").state
        clock.at += timedelta(seconds=50)
        run.round()

        assert (closed, waiting, run.cursor("cards").state) == ("done", "failed", "done")

    def test_a_slice_without_identity_is_a_dead_letter(self, start: Start, tmp_path: Path) -> None:
        record(tmp_path, "cards", DAY, body("cards", [event(1), {"day": "2031-05-04"}]))

        run = start(archive_plan())
        run.until_exhausted()

        assert [record.topic for record in run.records] == ["raw-events", "fetcher.dlq"]
        assert run.failed() == {}


class TestLive:
    def test_each_look_brings_what_changed(self, start: Start, site: Site) -> None:
        clock = SetClock()
        publish_all(site)
        run = start(FetchPlan(follow=True), clock)

        first = run.round()
        too_early = run.round()
        publish(site, "looks", [event(1), event(2, time=6.8)])
        clock.at += timedelta(seconds=60)
        second = run.round()

        assert [raw.feed for raw in raw_events(first)] == ["cards"] * 2 + ["looks"] * 2 + ["ends"] * 2
        assert too_early == []
        assert [(raw.feed, raw.body["heat"], raw.historical) for raw in raw_events(second)] == [("looks", 2, False)]

    def test_an_unchanged_document_gives_neither_records_nor_cursors(self, start: Start, site: Site) -> None:
        clock = SetClock()
        publish_all(site)
        run = start(FetchPlan(follow=True), clock)
        run.round()
        asked = len(site.requests)

        clock.at += timedelta(seconds=60)
        steps = steps_until(run, lambda: len(site.requests) >= asked + 3)

        assert steps == {None}
        assert len(site.requests) == asked + 3

    def test_an_unchanged_document_of_a_server_without_tags_gives_nothing_either(
        self, start: Start, site: Site
    ) -> None:
        clock = SetClock()
        run = start(FetchPlan(follow=True), clock)
        content = body("cards", [event(1)])
        site.answers["/cards/today.json"].extend([lambda handler: handler.answer(200, content)] * 2)
        run.round()

        clock.at += timedelta(seconds=60)

        assert steps_until(run, lambda: not site.answers["/cards/today.json"]) == {None}

    def test_a_tag_that_cannot_be_sent_back_is_not_kept(self, start: Start, site: Site) -> None:
        clock = SetClock()
        content = body("cards", [event(1)])
        run = start(FetchPlan(follow=True), clock)
        for path in ("/cards/today.json", f"/cards/{DAY:%Y%m%d}.json"):
            site.answers[path].extend([lambda handler: handler.answer(200, content, ETag='"\xe9"')] * 9)

        for _ in range(3):
            run.round()
            clock.at += timedelta(seconds=60)

        assert site.requests.count("/cards/today.json") == 3
        assert (run.cursor("cards").etag, run.failed(), len(run.records)) == (None, {}, 1)

    def test_a_stored_tag_that_cannot_be_sent_does_no_harm(self, start: Start, site: Site) -> None:
        publish_all(site)
        poisoned = {f"meadow/{feed}/{DAY}": encode(WindowCursor(etag='"\xe9"')) for feed in FEEDS}
        run = start(FetchPlan(follow=True), cursors=poisoned)

        assert len(run.round()) == 6
        assert run.failed() == {}
        assert all(run.cursor(feed).etag != '"\xe9"' for feed in FEEDS)

    def test_a_restart_goes_on_from_the_cursors(self, start: Start, site: Site) -> None:
        publish_all(site)
        first = start(FetchPlan(follow=True))
        first.round()

        again = start(FetchPlan(follow=True), cursors=first.cursors)

        assert again.round() == []

    def test_yesterdays_document_is_not_todays(self, start: Start, site: Site) -> None:
        publish_all(site, DAY - timedelta(days=1))
        clock = SetClock()
        run = start(FetchPlan(follow=True), clock)

        carried_over = run.round()
        publish_all(site, DAY)
        clock.at += timedelta(seconds=60)
        today = run.round()

        assert carried_over == []
        assert run.failed() == {}
        assert len(today) == 6

    def test_a_failed_look_is_repeated_and_the_good_one_clears_it(self, start: Start, site: Site) -> None:
        clock = SetClock()
        publish_all(site)
        run = start(FetchPlan(follow=True), clock)
        run.round()
        site.answers["/cards/today.json"].append(lambda handler: handler.answer(200, b"busy"))

        clock.at += timedelta(seconds=60)
        run.round()
        failed = dict(run.failed())
        clock.at += timedelta(seconds=60)
        records = run.round()

        assert list(failed) == ["meadow/cards/2031-05-04"]
        assert (run.failed(), records) == ({}, [])
        assert run.cursor("cards").state == "live"

    def test_after_the_day_its_final_documents_close_it(self, start: Start, site: Site) -> None:
        clock = SetClock()
        publish_all(site)
        run = start(FetchPlan(follow=True), clock)
        run.round()
        publish(site, "ends", [event(1), event(2, place=3)])
        publish(site, "cards", [event(1), event(2, w=52)])

        clock.at = datetime(2031, 5, 4, 15, 9, tzinfo=UTC)  # past midnight, before the documents are final
        before = run.round()
        clock.at = datetime(2031, 5, 4, 15, 10, tzinfo=UTC)
        after = run.round()

        assert before == []
        told = [(raw.feed, raw.event_key[-2:], raw.ordinal) for raw in raw_events(after)]
        assert told == [("cards", "02", 2), ("ends", "01", 2), ("ends", "02", 2)]
        assert all(raw.historical for raw in raw_events(after))
        assert {run.cursor(feed).state for feed in FEEDS} == {"done"}

    def test_a_closed_day_stays_closed(self, start: Start, site: Site) -> None:
        clock = SetClock()
        publish_all(site)
        first = start(FetchPlan(follow=True), clock)
        first.round()
        clock.at = datetime(2031, 5, 4, 15, 10, tzinfo=UTC)
        first.round()

        again = start(FetchPlan(DAY, follow=True), clock, cursors=first.cursors)

        assert again.round() == []

    def test_days_missed_while_it_was_not_running_are_filled_in(self, start: Start, site: Site) -> None:
        publish_all(site)
        first = start(FetchPlan(follow=True))
        first.round()
        for day in days(NEXT_DAY, 3):
            publish_all(site, day)

        again = start(FetchPlan(follow=True), SetClock(NOON + timedelta(days=3)), cursors=first.cursors)
        records = again.round()

        found = {(raw.event_key.split(":")[1], raw.historical) for raw in raw_events(records)}
        assert found == {("2031-05-04", True), ("2031-05-05", True), ("2031-05-06", True), ("2031-05-07", False)}

    def test_following_ends_with_the_last_day(self, start: Start, site: Site) -> None:
        clock = SetClock()
        publish_all(site)
        run = start(FetchPlan(DAY, DAY, follow=True), clock)
        run.round()
        during = run.fetcher.status()["exhausted"]
        clock.at = datetime(2031, 5, 4, 15, 10, tzinfo=UTC)

        run.until_exhausted()

        assert during is False
        assert {run.cursor(feed).state for feed in FEEDS} == {"done"}

    def test_a_fast_clock_makes_windows_due_sooner(self, start: Start, site: Site) -> None:
        publish_all(site)
        run = start(FetchPlan(follow=True), VirtualClock(NOON, speed=600, epoch_s=time.time()))
        run.round()
        publish(site, "cards", [event(1, w=52), event(2)])

        records = run.step(30)  # less than the 60 s that the window rests, at 600 times the speed

        assert records is not None

    def test_closing_ends_a_wait(self, start: Start) -> None:
        run = start(FetchPlan(follow=True))
        run.round()
        closer = threading.Timer(0.05, run.fetcher.close)
        closer.start()
        started = time.monotonic()

        assert run.fetcher.next(2 * DEADLINE_S) is None

        closer.join()
        assert time.monotonic() - started < DEADLINE_S


class TestBaseData:
    REFERENCE = {"tracks": {3: "Brook", 4: {"name": "Hill", "steep": True}}, "grades": {1: "A"}}  # noqa: RUF012

    def test_each_table_is_told_first_and_once(self, start: Start, tmp_path: Path) -> None:
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

    def test_a_table_that_changed_is_told_again(self, start: Start, tmp_path: Path) -> None:
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
