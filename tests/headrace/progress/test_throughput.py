"""Rates of the stages over a run."""

from __future__ import annotations

from headrace.progress.positions import PipelinePositions
from headrace.progress.throughput import Throughput
from shared.broker.contract import TopicPartition

RAW = TopicPartition("raw-events", 0)


def throughput(*readings: tuple[float, int]) -> Throughput:
    (first_s, first), *later = readings
    measured = Throughput(PipelinePositions(end={RAW: first}), at_s=first_s)
    for at_s, end in later:
        measured.read(PipelinePositions(end={RAW: end}), at_s)
    return measured


def test_a_rate_counts_from_the_last_rest_to_the_last_move() -> None:
    measured = throughput((0.0, 100), (10.0, 100), (11.0, 150), (12.0, 200), (20.0, 200))

    assert measured.records("fetcher") == 100
    assert measured.busy_s("fetcher") == 2.0
    assert measured.busy_s("loader") == 0.0


def test_the_peak_stays_when_the_rate_falls() -> None:
    measured = throughput((0.0, 0), (1.0, 500), (2.0, 1000), (10.0, 1000))

    assert measured.recent_per_s("fetcher") == 0.0
    assert measured.peak_per_s("fetcher") == 500.0
    assert measured.samples("fetcher") == (500.0, 500.0, 0.0)


def test_without_readings_the_current_rate_falls() -> None:
    measured = throughput((0.0, 0), (1.0, 500))

    for at_s in (3.0, 5.0, 7.0):
        measured.rest(at_s)

    assert measured.recent_per_s("fetcher") == 0.0
    assert measured.records("fetcher") == 500
