"""When a stage has recovered, and what the report says about it."""

from __future__ import annotations

from datetime import date

import pytest

from shared.broker.contract import TopicPartition
from shared.topics import LOADED, RAW
from tests.faults.recovery import Recoveries, Recovery, Sample, has_recovered, settled_baseline
from tests.faults.report import Report
from tests.faults.schedule import EMBEDDED, Fault, Kind, Schedule

FIRST, SECOND, RAW_FIRST = TopicPartition(LOADED, 0), TopicPartition(LOADED, 1), TopicPartition(RAW, 0)


def sample(first: int, second: int, end: int = 100, *, drained: bool = False) -> Sample:
    ends = {FIRST: end, SECOND: end, RAW_FIRST: end}
    return Sample({"notifier": {FIRST: first, SECOND: second}}, ends, drained)


def test_a_stage_has_recovered_when_each_of_its_partitions_has_moved() -> None:
    before = sample(10, 10)

    assert not has_recovered("notifier", before, sample(11, 10))
    assert has_recovered("notifier", before, sample(11, 11))


def test_a_partition_without_work_need_not_move_once_the_source_is_drained() -> None:
    assert has_recovered("notifier", sample(10, 100), sample(11, 100, drained=True))
    assert not has_recovered("notifier", sample(10, 90), sample(11, 90, drained=True))


def test_a_position_of_a_log_that_is_gone_is_no_progress() -> None:
    """A new Kafka has 5 records in each partition; the notifier still stands at 50 of the former one."""
    before = settled_baseline(sample(40, 40, end=0), {})

    assert not has_recovered("notifier", before, sample(50, 50, end=5))
    assert has_recovered("notifier", before, sample(5, 3, end=5))


def test_an_accepted_loss_alone_is_no_progress() -> None:
    """Retention has removed everything up to 80: to continue there is not yet a new record."""
    before = settled_baseline(sample(40, 80, end=80), {FIRST: 80, SECOND: 80})

    assert not has_recovered("notifier", before, sample(80, 81))
    assert has_recovered("notifier", before, sample(81, 81))


def report_of(*recoveries: Recovery) -> Report:
    schedule = Schedule(seed=1, broker=EMBEDDED, first=date(2026, 1, 1), days=2, replicas={}, faults=())
    report = Report(schedule, recorded=True, recoveries=Recoveries(list(recoveries)))
    report.add_problems()
    return report


def test_the_report_has_median_and_worst_of_each_kind() -> None:
    report = report_of(Recovery("a", "a", 1.0), Recovery("a", "a", 3.0), Recovery("b", "b", 4.0))

    table = [line.split() for line in report.lines()[2:5]]

    assert table == [["a", "2", "2.00", "3.00"], ["b", "1", "4.00", "4.00"], ["all", "3", "3.00", "4.00"]]
    assert report.problems == []


@pytest.mark.parametrize(
    ("seconds", "problem"),
    [([6.0, 6.0], "SLOW: the median"), ([1.0, 1.0, 21.0], "SLOW: the worst"), ([None], "NOT RECOVERED: x")],
)
def test_a_recovery_beyond_the_limits_is_a_problem(seconds: list[float | None], problem: str) -> None:
    report = report_of(*(Recovery("kind", "x", each) for each in seconds))

    assert [line for line in report.problems if line.startswith(problem)]


def test_an_accident_that_came_too_late_is_a_problem_and_another_fault_is_not() -> None:
    report = report_of()
    report.skip(Fault(kind=Kind.CUT, target="loader"))
    report.skip(Fault(kind=Kind.SLOW, target="database"))
    report.add_problems()

    assert report.skipped == 1
    assert report.problems == [f"NOT INJECTED: {Kind.SLOW}: database: all days were fetched before"]


def test_a_fault_that_was_not_injected_is_a_problem() -> None:
    report = report_of()
    report.not_injected.append("disk full")
    report.add_problems()

    assert report.problems == ["NOT INJECTED: disk full"]
