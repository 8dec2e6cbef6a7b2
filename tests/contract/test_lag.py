"""Lag on both brokers: counted in records, with the age of the oldest, from the positions that count."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from shared.broker.contract import Backlog, Broker, TopicPartition
from shared.broker.counting.backlog import GaplessBacklog, ReadBacklog
from shared.runtime.lag import LagMeter, PartitionLag
from tests.contract.conftest import Harness
from tests.contract.records import advance, fill, poll_some, until

ONE = TopicPartition("one", 0)


@pytest.fixture
def backlog(harness: Harness, broker: Broker, tmp_path: Path) -> Iterator[Backlog]:
    config = json.loads((tmp_path / "broker.url").read_text())
    backlog: Backlog = ReadBacklog(harness.new_broker()) if "kafka" in config else GaplessBacklog(config["conninfo"])
    yield backlog
    backlog.close()


@pytest.fixture
def meter(harness: Harness, backlog: Backlog) -> LagMeter:
    return LagMeter(harness.new_broker(), "group", backlog)


def lag_of(meter: LagMeter, *, thorough: bool = True) -> PartitionLag:
    (lag,) = meter.measure(["one"], thorough=thorough)
    return lag


def read(broker: Broker, count: int) -> None:
    """Reads that many records as the group, in one unit."""
    with (
        closing(broker.consumer("group", ["one"], "a")) as consumer,
        closing(broker.producer("a")) as producer,
        producer.unit() as unit,
    ):
        while count > 0:
            polled = poll_some(consumer, count)
            count -= len(polled.records)
            advance(unit, polled)
        unit.commit()


def test_lag_is_counted_in_records_and_is_zero_at_the_end(broker: Broker, meter: LagMeter) -> None:
    for values in ("abc", "d", "ef"):
        fill(broker, "one", values)
    until(lambda: lag_of(meter).records == 6)

    read(broker, 4)
    some = lag_of(meter)
    read(broker, 2)
    none = [lag_of(meter, thorough=thorough) for thorough in (True, False)]

    assert (some.records, some.exact) == (2, True)
    assert [(each.records, each.seconds, each.exact) for each in none] == [(0, 0.0, True)] * 2
    assert (none[0].topic, none[0].partition) == ONE


def test_seconds_are_the_age_of_the_oldest_unread_record(broker: Broker, harness: Harness, backlog: Backlog) -> None:
    before_s = time.time()
    fill(broker, "one", "ab")
    after_s = time.time()
    later = LagMeter(harness.new_broker(), "group", backlog, now_s=lambda: after_s + 60)
    until(lambda: lag_of(later).records == 2)

    seconds = lag_of(later).seconds

    assert seconds is not None
    assert 60 - 0.001 <= seconds <= 60 + after_s - before_s + 0.001


def test_records_appended_since_the_last_measurement_are_counted(broker: Broker, meter: LagMeter) -> None:
    fill(broker, "one", "abc")
    until(lambda: lag_of(meter).records == 3)
    fill(broker, "one", "de")

    until(lambda: lag_of(meter, thorough=False).records == 5)


def test_the_position_that_the_owner_reports_is_used(broker: Broker, harness: Harness, backlog: Backlog) -> None:
    fill(broker, "one", "ab")
    end = broker.end_offsets([ONE])[ONE]
    meter = LagMeter(
        harness.new_broker(), "group", backlog, observed_positions=lambda: {ONE: end, TopicPartition("other", 0): 9}
    )

    lag = lag_of(meter)

    assert (lag.position, lag.end, lag.records, lag.seconds) == (end, end, 0, 0.0)


def test_an_ignored_offset_is_reported_and_logged_once(broker: Broker, harness: Harness, backlog: Backlog) -> None:
    calls: list[object] = []

    def ignored_offsets(topics: object) -> dict[TopicPartition, int]:
        calls.append(topics)
        return {ONE: 7, TopicPartition("one", 1): -1}

    meter = LagMeter(harness.new_broker(), "group", backlog, ignored_offsets=ignored_offsets)
    with structlog.testing.capture_logs() as logs:
        lags = [lag_of(meter), lag_of(meter), lag_of(meter, thorough=False)]

    assert [each.ignored_group_offset for each in lags] == [7, 7, 7]
    assert meter.ignored_offsets() == {"one/0": 7}
    assert [(each["log_level"], each["offset"]) for each in logs] == [("warning", 7)]
    assert len(calls) == 2


def test_lag_can_be_measured_from_several_threads(broker: Broker, meter: LagMeter) -> None:
    fill(broker, "one", "abc")
    until(lambda: lag_of(meter).records == 3)

    with ThreadPoolExecutor(3) as pool:
        counts = [each.records for each in pool.map(lambda _: lag_of(meter), range(6))]
    fill(broker, "one", "d")
    until(lambda: lag_of(meter).records == 4)

    assert counts == [3] * 6
