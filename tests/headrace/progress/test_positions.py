"""When a run is through."""

from __future__ import annotations

from dataclasses import replace

from headrace.progress.positions import FetcherReport, Positions, Reading, report_of, waiting_for
from shared.broker.contract import TopicPartition

DONE = FetcherReport(due=0, done=6, failed=(), exhausted=True)
RAW, CLEAN = TopicPartition("raw-events", 0), TopicPartition("clean-events", 3)
ALL_READ = Positions(
    begin={RAW: 5, CLEAN: 0}, end={RAW: 10, CLEAN: 8}, done={("cleaner", RAW): 10, ("loader", CLEAN): 8}
)
BEHIND = replace(ALL_READ, done={**ALL_READ.done, ("loader", CLEAN): 5})


def test_everything_read_means_nothing_to_wait_for() -> None:
    assert waiting_for(Reading(DONE, ALL_READ, 0, 0)) is None


def test_a_fetcher_that_has_not_said_anything_is_waited_for() -> None:
    assert waiting_for(Reading(None, ALL_READ, 0, 0)) == "the fetcher to say how far it is"


def test_windows_that_are_due_are_waited_for() -> None:
    reading = Reading(FetcherReport(due=2, done=4, failed=(), exhausted=False), ALL_READ, 0, 0)

    assert waiting_for(reading) == "the fetcher: 2 windows are due"
    assert waiting_for(reading, follows=True) is None


def test_records_that_a_service_has_not_read_are_waited_for() -> None:
    assert waiting_for(Reading(DONE, BEHIND, 0, 0)) == "the loader: 3 records to go"


def test_offsets_that_hold_no_record_are_not_waited_for() -> None:
    assert BEHIND.behind() == {("loader", CLEAN): (5, 8)}

    assert waiting_for(Reading(DONE, BEHIND.passed([("loader", CLEAN)]), 0, 0)) is None


def test_a_service_ahead_on_one_partition_is_still_behind_on_another() -> None:
    ahead = replace(BEHIND, done={**BEHIND.done, ("loader", RAW): 12})

    assert waiting_for(Reading(DONE, ahead, 0, 0)) == "the loader: 3 records to go"


def test_what_lies_in_the_outbox_is_waited_for() -> None:
    reading = Reading(DONE, replace(ALL_READ, outbox=2), 0, 0)

    assert waiting_for(reading) == "the outbox: 2 records to copy to Kafka"


def test_files_and_messages_that_are_open_are_waited_for() -> None:
    assert waiting_for(Reading(DONE, ALL_READ, 1, 0)) == "the loader's CSV files of 1 days"
    assert waiting_for(Reading(DONE, ALL_READ, 0, 4)) == "the notifier: 4 messages to send"


def test_a_fetcher_that_is_starting_is_not_exhausted() -> None:
    assert not report_of({}).exhausted
    assert report_of({"windows": {"due": 1, "done": 2, "failed": 1}, "failed": ["x"], "exhausted": True}) == (
        FetcherReport(1, 2, ({"window": "x"},), True)
    )
