"""When a run is through."""

from __future__ import annotations

from dataclasses import replace

from headrace.progress.positions import FetcherReport, PipelinePositions, Reading, fetcher_report, waiting_for
from shared.broker.contract import TopicPartition

DONE = FetcherReport(due=0, done=6, failed=(), exhausted=True)
RAW, CLEAN = TopicPartition("raw-events", 0), TopicPartition("clean-events", 3)
ALL_READ = PipelinePositions(
    begin={RAW: 5, CLEAN: 0}, end={RAW: 10, CLEAN: 8}, committed={("cleaner", RAW): 10, ("loader", CLEAN): 8}
)
BEHIND = replace(ALL_READ, committed={**ALL_READ.committed, ("loader", CLEAN): 5})


def test_everything_read_means_nothing_to_wait_for() -> None:
    assert waiting_for(Reading(DONE, ALL_READ, 0, 0)) is None


def test_a_fetcher_without_a_report_is_waited_for() -> None:
    assert waiting_for(Reading(None, ALL_READ, 0, 0)) == "the fetcher to report its windows"


def test_windows_that_are_due_are_waited_for() -> None:
    reading = Reading(FetcherReport(due=2, done=4, failed=(), exhausted=False), ALL_READ, 0, 0)

    assert waiting_for(reading) == "the fetcher to fetch 2 windows"
    assert waiting_for(reading, follows=True) is None


def test_a_gate_that_the_source_or_the_breaker_closed_is_named() -> None:
    def waiting(*waits: tuple[str, str]) -> str | None:
        each = tuple({"host": "pond:80", "reason": reason, "until": f"2031-05-04T{at}"} for reason, at in waits)
        return waiting_for(Reading(FetcherReport(1, 0, (), False, waits=each), ALL_READ, 0, 0))

    assert waiting(("budget", "12:00")) == "the fetcher to fetch 1 window"
    assert waiting(("breaker", "12:00"), ("retry-after", "13:00")) == (
        "the fetcher to fetch 1 window, which makes no request before 2031-05-04T13:00 to pond:80, which asked to wait"
        " (`headrace gates`)"
    )
    assert "where too many requests failed" in str(waiting(("breaker", "12:00")))


def test_records_that_a_service_has_not_read_are_waited_for() -> None:
    assert waiting_for(Reading(DONE, BEHIND, 0, 0)) == "the loader to read 3 records"


def test_offsets_that_hold_no_record_are_not_waited_for() -> None:
    assert BEHIND.behind() == {("loader", CLEAN): (5, 8)}

    assert waiting_for(Reading(DONE, BEHIND.caught_up([("loader", CLEAN)]), 0, 0)) is None


def test_a_service_ahead_on_one_partition_is_still_behind_on_another() -> None:
    ahead = replace(BEHIND, committed={**BEHIND.committed, ("loader", RAW): 12})

    assert waiting_for(Reading(DONE, ahead, 0, 0)) == "the loader to read 3 records"


def test_what_lies_in_the_outbox_is_waited_for() -> None:
    reading = Reading(DONE, replace(ALL_READ, outbox=2), 0, 0)

    assert waiting_for(reading) == "the relay to copy 2 records to Kafka"


def test_files_and_messages_that_are_open_are_waited_for() -> None:
    assert waiting_for(Reading(DONE, ALL_READ, 1, 0)) == "the loader to write the daily files of 1 day"
    assert waiting_for(Reading(DONE, ALL_READ, 0, 4)) == "the notifier to send 4 messages"


def test_a_fetcher_that_is_starting_is_not_exhausted() -> None:
    assert not fetcher_report({}).exhausted
    assert fetcher_report({"windows": {"due": 1, "done": 2, "failed": 1}, "failed": ["x"], "exhausted": True}) == (
        FetcherReport(1, 2, ({"window": "x"},), True)
    )
