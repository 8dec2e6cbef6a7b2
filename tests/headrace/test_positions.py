"""When a run is through."""

from __future__ import annotations

from headrace.meter import Meter
from headrace.positions import FetcherReport, Positions, Reading, report_of, waiting_for

DONE = FetcherReport(due=0, done=6, failed=(), exhausted=True)
ALL_READ = Positions(
    begin={"raw-events": 5, "clean-events": 0},
    end={"raw-events": 10, "clean-events": 8},
    done={("cleaner", "raw-events"): 10, ("loader", "clean-events"): 8},
)


def test_everything_read_means_nothing_to_wait_for() -> None:
    assert waiting_for(Reading(DONE, ALL_READ, 0, 0)) is None


def test_a_fetcher_that_has_not_said_anything_is_waited_for() -> None:
    assert waiting_for(Reading(None, ALL_READ, 0, 0)) == "the fetcher to say how far it is"


def test_windows_that_are_due_are_waited_for() -> None:
    reading = Reading(FetcherReport(due=2, done=4, failed=(), exhausted=False), ALL_READ, 0, 0)

    assert waiting_for(reading) == "the fetcher: 2 windows are due"
    assert waiting_for(reading, follows=True) is None


def test_records_that_a_service_has_not_read_are_waited_for() -> None:
    behind = Positions(ALL_READ.begin, ALL_READ.end, {**ALL_READ.done, ("loader", "clean-events"): 5})

    assert waiting_for(Reading(DONE, behind, 0, 0)) == "the loader: 3 records to go"


def test_files_and_messages_that_are_open_are_waited_for() -> None:
    assert waiting_for(Reading(DONE, ALL_READ, 1, 0)) == "the loader's CSV files of 1 days"
    assert waiting_for(Reading(DONE, ALL_READ, 0, 4)) == "the notifier: 4 messages to send"


def test_a_fetcher_that_is_starting_is_not_exhausted() -> None:
    assert not report_of({}).exhausted
    assert report_of({"windows": {"due": 1, "done": 2, "failed": 1}, "failed": ["x"], "exhausted": True}) == (
        FetcherReport(1, 2, ({"window": "x"},), True)
    )


def test_a_rate_counts_from_the_last_rest_to_the_last_move() -> None:
    meter = Meter(Positions(end={"raw-events": 100}), at_s=0.0)
    for at_s, end in ((10.0, 100), (11.0, 150), (12.0, 200), (20.0, 200)):
        meter.read(Positions(end={"raw-events": end}), at_s)

    assert meter.records("fetcher") == 100
    assert meter.mean_per_s("fetcher") == 50.0
    assert meter.idle_s("fetcher", 20.0) == 8.0
    assert meter.mean_per_s("loader") == 0.0
