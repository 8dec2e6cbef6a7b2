"""Rates of the stages over a run."""

from __future__ import annotations

from headrace.progress.positions import PipelinePositions
from headrace.progress.throughput import Throughput
from shared.broker.contract import TopicPartition

RAW = TopicPartition("raw-events", 0)


def test_a_rate_counts_from_the_last_rest_to_the_last_move() -> None:
    meter = Throughput(PipelinePositions(end={RAW: 100}), at_s=0.0)
    for at_s, end in ((10.0, 100), (11.0, 150), (12.0, 200), (20.0, 200)):
        meter.read(PipelinePositions(end={RAW: end}), at_s)

    assert meter.records("fetcher") == 100
    assert meter.busy_s("fetcher") == 2.0
    assert meter.idle_s("fetcher", 20.0) == 8.0
    assert meter.busy_s("loader") == 0.0
