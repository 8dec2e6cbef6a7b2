"""The loop of a job on the embedded log: it processes its spans once, despite crashes and commands."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

import psycopg
import pytest

from shared.broker.contract import Record, TopicPartition, Unit
from shared.broker.postgres import retention
from shared.errors import ConfigError, TransientError
from shared.ops.replays import OffsetSpan
from shared.ops.tables import jobs as jobs_table
from shared.runtime.jobs.cursor import JobCursor, cursor_of
from shared.runtime.jobs.pace import MAX_BACKLOG
from shared.topics import CLEAN, JOB_CURSORS, RAW
from tests.shared.runtime.jobs.jobs import JobTestbed, copy_and_call, copy_records, number_of, run_in_thread
from tests.shared.runtime.loop_harness import append, raw
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
RECORDS = 100
ALL = list(range(RECORDS))


@pytest.fixture
def database_url(url: str) -> str:
    """An emptied database: to create a new one takes a second."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.operations")
    return url


@pytest.fixture
def testbed(database_url: str) -> Iterator[JobTestbed]:
    with closing(JobTestbed(database_url, RECORDS)) as testbed:
        yield testbed


def test_a_job_processes_its_spans_once(testbed: JobTestbed) -> None:
    testbed.loop(testbed.claim()).run()

    row = testbed.row()
    assert testbed.copied_numbers() == ALL
    assert (row.state, row.progress, row.worker) == ("succeeded", 1.0, None)
    assert row.counts == {"read": RECORDS, "selected": RECORDS, "outputs": RECORDS}


def test_records_appended_after_the_plan_are_not_processed(testbed: JobTestbed) -> None:
    append(testbed.broker, [raw(number, str(number)) for number in range(RECORDS, 2 * RECORDS)])

    testbed.loop(testbed.claim()).run()

    assert testbed.copied_numbers() == ALL


def test_only_selected_records_are_handled_and_all_read_records_are_counted(testbed: JobTestbed) -> None:
    testbed.loop(testbed.claim(), is_selected=lambda record: number_of(record) % 7 == 0).run()

    assert testbed.copied_numbers() == ALL[::7]
    assert testbed.row().counts == {"read": RECORDS, "selected": 15, "outputs": 15}


def test_a_job_that_selects_nothing_succeeds(testbed: JobTestbed) -> None:
    testbed.spans = {}

    testbed.loop(testbed.claim()).run()

    assert (testbed.row().state, testbed.copied_numbers()) == ("succeeded", [])


def test_committed_positions_stay_where_they_are(testbed: JobTestbed) -> None:
    before = testbed.broker.committed("cleaner", [RAW])

    testbed.loop(testbed.claim()).run()

    assert testbed.broker.committed("cleaner", [RAW]) == before


class Crash(Exception):
    """Ends the loop at any point."""


def crash() -> None:
    raise Crash


def test_a_crash_inside_a_unit_leaves_nothing_of_it_and_the_next_worker_continues(testbed: JobTestbed) -> None:
    lease = testbed.claim(lease_s=0.0)
    with pytest.raises(Crash):
        testbed.loop(lease, transform=copy_and_call(4, crash)).run()
    assert len(testbed.copied_numbers()) == 30

    testbed.loop(testbed.claim("two")).run()

    assert testbed.copied_numbers() == ALL
    assert testbed.row().counts == {"read": RECORDS, "selected": RECORDS, "outputs": RECORDS}


def test_a_paused_job_does_nothing_and_continues_where_it_was(testbed: JobTestbed) -> None:
    testbed.loop(testbed.claim(), transform=copy_and_call(3, lambda: testbed.apply_command("pause"))).run()
    assert testbed.row().state == "paused"
    assert len(testbed.copied_numbers()) == 30
    assert jobs_table.claim(testbed.connection, "cleaner", "two", ["replay"]) is None

    assert testbed.apply_command("resume").state == "waiting"
    testbed.loop(testbed.claim("two")).run()

    assert testbed.copied_numbers() == ALL


def test_a_cancelled_job_ends_and_its_outputs_stay(testbed: JobTestbed) -> None:
    testbed.loop(testbed.claim(), transform=copy_and_call(3, lambda: testbed.apply_command("cancel"))).run()

    row = testbed.row()
    assert row.state == "cancelled"
    assert row.finished_at is not None
    assert row.counts["outputs"] == len(testbed.copied_numbers()) == 30


def test_a_stopped_worker_releases_its_job(testbed: JobTestbed) -> None:
    def stop() -> None:
        loop.stop()

    loop = testbed.loop(testbed.claim(), transform=copy_and_call(3, stop))
    loop.run()
    assert testbed.row().state == "waiting"

    testbed.loop(testbed.claim("two")).run()

    assert testbed.copied_numbers() == ALL


def test_a_late_worker_is_fenced_and_ends(testbed: JobTestbed) -> None:
    """Its lease ends inside a unit, and another worker claims the job and finishes it."""

    def overtake() -> None:
        testbed.loop(testbed.claim("two")).run()

    testbed.loop(testbed.claim(lease_s=0.0), transform=copy_and_call(4, overtake)).run()

    assert testbed.copied_numbers() == ALL
    assert testbed.row().counts["outputs"] == RECORDS


def test_transient_errors_are_retried(testbed: JobTestbed) -> None:
    failures = iter([TransientError("away"), TransientError("away")])

    def transform(records: Sequence[Record], unit: Unit) -> Mapping[str, int]:
        if (error := next(failures, None)) is not None:
            unit.append([])
            raise error
        return copy_records(records, unit)

    testbed.loop(testbed.claim(), transform=transform).run()

    assert testbed.copied_numbers() == ALL


def test_a_fenced_producer_is_replaced_while_the_lease_is_held(testbed: JobTestbed) -> None:
    fence = lambda: testbed.broker.producer(f"job-{testbed.operation_id}").close()  # noqa: E731

    testbed.loop(testbed.claim(), transform=copy_and_call(4, fence)).run()

    assert testbed.copied_numbers() == ALL


def test_a_permanent_error_fails_the_job_with_its_cause(testbed: JobTestbed) -> None:
    def transform(_records: Sequence[Record], _unit: Unit) -> Mapping[str, int]:
        raise ConfigError("there is no such thing")

    testbed.loop(testbed.claim(), transform=transform).run()

    assert (testbed.row().state, testbed.row().error) == ("failed", "there is no such thing")


def test_a_job_cut_by_retention_fails_and_names_the_earliest_offsets(testbed: JobTestbed) -> None:
    testbed.connection.execute("UPDATE broker.topics SET retention_s = 0 WHERE name = %s", (RAW,))
    testbed.connection.execute("UPDATE broker.log SET last_ms = 0")
    append(testbed.broker, [raw(RECORDS, "k")])
    retention.enforce(testbed.connection)
    earliest = {tp: begin for tp, begin in testbed.broker.begin_offsets(list(testbed.spans)).items() if begin}
    assert earliest

    testbed.loop(testbed.claim()).run()

    row = testbed.row()
    assert row.state == "failed"
    assert all(f"{tp.topic}/{tp.partition}: {offset}" in str(row.error) for tp, offset in earliest.items())
    assert testbed.copied_numbers() == []


def test_a_job_that_meets_damaged_records_fails_and_names_them(testbed: JobTestbed) -> None:
    changed = testbed.connection.execute(
        "UPDATE broker.log SET payload = '' FROM broker.topics t WHERE t.id = topic_id AND t.name = %s AND p = 0",
        (RAW,),
    ).rowcount

    testbed.loop(testbed.claim()).run()

    row = testbed.row()
    assert changed == 1
    assert (row.state, row.error is not None and row.error.startswith(f"{RAW}/0: the records from offset 0")) == (
        "failed",
        True,
    )


def test_on_commit_is_called_for_each_unit_and_for_the_first_cursor_of_a_worker(testbed: JobTestbed) -> None:
    calls: list[tuple[int, int]] = []

    def on_commit(cursor: JobCursor, records: Sequence[Record]) -> None:
        calls.append((cursor.counts.get("outputs", 0), len(records)))

    with pytest.raises(Crash):
        testbed.loop(testbed.claim(lease_s=0.0), transform=copy_and_call(3, crash), on_commit=on_commit).run()
    testbed.loop(testbed.claim("two"), on_commit=on_commit).run()

    assert calls[:4] == [(0, 0), (10, 10), (20, 10), (20, 0)]
    assert calls[-1][0] == RECORDS
    assert sum(records for _, records in calls) == RECORDS


def test_the_cursor_is_in_the_unit_of_what_it_counts(testbed: JobTestbed) -> None:
    with pytest.raises(Crash):
        testbed.loop(testbed.claim(), transform=copy_and_call(3, crash)).run()

    cursor = cursor_of(testbed.broker.cursors(JOB_CURSORS)[testbed.operation_id], testbed.spans)

    assert cursor.counts == {"read": 20, "selected": 20, "outputs": 20}
    assert sum(cursor.next_offsets.values()) == 20


def test_the_rate_is_not_exceeded(testbed: JobTestbed) -> None:
    with run_in_thread(testbed.loop(testbed.claim(), rate=40.0)):
        wait_until(lambda: testbed.row().counts.get("outputs", 0) >= 40)
        started_at_s, now_s = testbed.connection.execute(
            "SELECT extract(epoch FROM started_at)::float8, extract(epoch FROM clock_timestamp())::float8"
            " FROM ops.operations"
        ).fetchone()  # type: ignore[misc]

    assert now_s - started_at_s >= (40 - 20) / 40.0  # the first unit of half a second is not delayed


def test_a_job_waits_for_a_long_backlog_until_it_counts_as_stalled(testbed: JobTestbed) -> None:
    copies = [raw(number, f"c{number}") for number in range(MAX_BACKLOG + 2)]
    append(testbed.broker, [each._replace(topic=CLEAN) for each in copies])
    downstream = frozenset({("loader", CLEAN)})

    with run_in_thread(testbed.loop(testbed.claim(), downstream=downstream)):
        assert "loader" in str(wait_until(lambda: testbed.row().waiting_for))
        assert testbed.row().counts.get("outputs", 0) == 0
        wait_until(lambda: testbed.row().state == "succeeded")

    assert testbed.row().counts["outputs"] == RECORDS


def test_a_cursor_survives_its_encoding() -> None:
    tp = TopicPartition(RAW, 1)
    cursor = JobCursor({tp: 7}, {"read": 7})

    assert cursor_of(cursor.encode(), {tp: OffsetSpan(0, 9)}) == cursor


def test_a_slow_job_ticks_while_its_transform_works(testbed: JobTestbed) -> None:
    started, release = threading.Event(), threading.Event()

    def transform(records: Sequence[Record], unit: Unit) -> Mapping[str, int]:
        started.set()
        release.wait(DEADLINE_S)
        return copy_records(records, unit)

    loop = testbed.loop(testbed.claim(), transform=transform, slow=True)
    with run_in_thread(loop):
        assert started.wait(DEADLINE_S)
        for _ in range(3):
            before = loop.ticked_at
            wait_until(lambda before=before: loop.ticked_at != before)  # type: ignore[misc]
        assert testbed.copied_numbers() == []
        release.set()
        wait_until(lambda: testbed.row().state == "succeeded")

    assert testbed.copied_numbers() == ALL
