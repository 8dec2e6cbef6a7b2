"""What the suite reads from the text of a replica's metrics."""

from __future__ import annotations

from tests.faults.accidents.service_metrics import large_in, lost_in

TEXT = """\
# HELP headrace_records_lost_total records that were gone before they were read
headrace_records_lost_total{partition="0",service="notifier",topic="loaded-events"} 3.0
headrace_records_lost_total{partition="1",service="notifier",topic="loaded-events"} 4.0
headrace_records_lost_total{partition="1",service="loader",topic="clean-events"} 8.0
headrace_batch_size_records_bucket{le="1.0"} 2.0
headrace_batch_size_records_bucket{le="5.0"} 6.0
headrace_batch_size_records_bucket{le="10.0"} 7.0
headrace_batch_size_records_bucket{le="+Inf"} 9.0
headrace_batch_size_records_count 9.0
"""


def test_the_lost_records_of_a_service_are_summed() -> None:
    assert lost_in(TEXT, "notifier") == 7
    assert lost_in(TEXT, "loader") == 8
    assert lost_in("", "loader") == 0


def test_only_batches_beyond_the_next_bound_of_the_histogram_count_as_larger() -> None:
    assert large_in(TEXT, 1) == 7
    assert large_in(TEXT, 3) == 3
    assert large_in(TEXT, 10) == 2
    assert large_in(TEXT, 500) == 0
    assert large_in("", 1) == 0
