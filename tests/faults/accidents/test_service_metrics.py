"""What the suite reads from the text of a replica's metrics."""

from __future__ import annotations

from tests.faults.accidents.service_metrics import large_in

TEXT = """\
headrace_batch_size_records_bucket{le="1.0"} 2.0
headrace_batch_size_records_bucket{le="5.0"} 6.0
headrace_batch_size_records_bucket{le="10.0"} 7.0
headrace_batch_size_records_bucket{le="+Inf"} 9.0
headrace_batch_size_records_count 9.0
"""


def test_only_batches_beyond_the_next_bound_of_the_histogram_count_as_larger() -> None:
    assert large_in(TEXT, 1) == 7
    assert large_in(TEXT, 3) == 3
    assert large_in(TEXT, 10) == 2
    assert large_in(TEXT, 500) == 0
    assert large_in("", 1) == 0
