"""The loop of a job on the embedded log: to the end, once, whatever comes in between."""

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
from tests.shared.runtime.jobs.jobs import Bench, after, copying, number_of, working
from tests.shared.runtime.stage import append, raw
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
RECORDS = 100
ALL = list(range(RECORDS))


@pytest.fixture
def database_url(url: str) -> str:
    """Not a fresh one, which takes a second, but one that was emptied."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.operations")
    return url


@pytest.fixture
def bench(database_url: str) -> Iterator[Bench]:
    with closing(Bench(database_url, RECORDS)) as bench:
        yield bench


def test_a_job_processes_its_spans_once(bench: Bench) -> None:
    bench.loop(bench.claim()).run()

    row = bench.row()
    assert bench.copied() == ALL
    assert (row.state, row.progress, row.worker) == ("succeeded", 1.0, None)
    assert row.counts == {"read": RECORDS, "selected": RECORDS, "outputs": RECORDS}


def test_records_appended_after_the_plan_are_not_processed(bench: Bench) -> None:
    append(bench.broker, [raw(number, str(number)) for number in range(RECORDS, 2 * RECORDS)])

    bench.loop(bench.claim()).run()

    assert bench.copied() == ALL


def test_only_selected_records_are_handled_and_all_read_records_are_counted(bench: Bench) -> None:
    bench.loop(bench.claim(), wanted=lambda record: number_of(record) % 7 == 0).run()

    assert bench.copied() == ALL[::7]
    assert bench.row().counts == {"read": RECORDS, "selected": 15, "outputs": 15}


def test_a_job_that_selects_nothing_succeeds(bench: Bench) -> None:
    bench.spans = {}

    bench.loop(bench.claim()).run()

    assert (bench.row().state, bench.copied()) == ("succeeded", [])


def test_committed_positions_stay_where_they_are(bench: Bench) -> None:
    before = bench.broker.committed("cleaner", [RAW])

    bench.loop(bench.claim()).run()

    assert bench.broker.committed("cleaner", [RAW]) == before


class Killed(Exception):
    """Ends the loop where it is."""


def kill() -> None:
    raise Killed


def test_a_crash_inside_a_unit_leaves_nothing_of_it_and_the_next_worker_continues(bench: Bench) -> None:
    claimed = bench.claim(lease_s=0.0)
    with pytest.raises(Killed):
        bench.loop(claimed, transform=after(4, kill)).run()
    assert len(bench.copied()) == 30

    bench.loop(bench.claim("two")).run()

    assert bench.copied() == ALL
    assert bench.row().counts == {"read": RECORDS, "selected": RECORDS, "outputs": RECORDS}


def test_a_paused_job_does_nothing_and_continues_where_it_was(bench: Bench) -> None:
    bench.loop(bench.claim(), transform=after(3, lambda: bench.say("pause"))).run()
    assert bench.row().state == "paused"
    assert len(bench.copied()) == 30
    assert jobs_table.claim(bench.connection, "cleaner", "two", ["replay"]) is None

    assert bench.say("resume").state == "waiting"
    bench.loop(bench.claim("two")).run()

    assert bench.copied() == ALL


def test_a_cancelled_job_ends_and_its_outputs_stay(bench: Bench) -> None:
    bench.loop(bench.claim(), transform=after(3, lambda: bench.say("cancel"))).run()

    row = bench.row()
    assert row.state == "cancelled"
    assert row.finished_at is not None
    assert row.counts["outputs"] == len(bench.copied()) == 30


def test_a_stopped_worker_releases_its_job(bench: Bench) -> None:
    def stop() -> None:
        loop.stop()

    loop = bench.loop(bench.claim(), transform=after(3, stop))
    loop.run()
    assert bench.row().state == "waiting"

    bench.loop(bench.claim("two")).run()

    assert bench.copied() == ALL


def test_a_late_worker_is_fenced_and_ends(bench: Bench) -> None:
    """Its lease ended in the middle of a unit, and somebody else has taken the job up and finished it."""

    def overtake() -> None:
        bench.loop(bench.claim("two")).run()

    bench.loop(bench.claim(lease_s=0.0), transform=after(4, overtake)).run()

    assert bench.copied() == ALL
    assert bench.row().counts["outputs"] == RECORDS


def test_transient_errors_are_retried(bench: Bench) -> None:
    failures = iter([TransientError("away"), TransientError("away")])

    def transform(records: Sequence[Record], unit: Unit) -> Mapping[str, int]:
        if (error := next(failures, None)) is not None:
            unit.append([])
            raise error
        return copying(records, unit)

    bench.loop(bench.claim(), transform=transform).run()

    assert bench.copied() == ALL


def test_a_fenced_producer_is_replaced_while_the_lease_is_held(bench: Bench) -> None:
    steal = lambda: bench.broker.producer(f"job-{bench.operation_id}").close()  # noqa: E731

    bench.loop(bench.claim(), transform=after(4, steal)).run()

    assert bench.copied() == ALL


def test_a_permanent_error_fails_the_job_with_its_cause(bench: Bench) -> None:
    def transform(_records: Sequence[Record], _unit: Unit) -> Mapping[str, int]:
        raise ConfigError("there is no such thing")

    bench.loop(bench.claim(), transform=transform).run()

    assert (bench.row().state, bench.row().error) == ("failed", "there is no such thing")


def test_a_job_cut_by_retention_fails_and_names_the_earliest_offsets(bench: Bench) -> None:
    bench.connection.execute("UPDATE broker.topics SET retention_s = 0 WHERE name = %s", (RAW,))
    bench.connection.execute("UPDATE broker.log SET last_ms = 0")
    append(bench.broker, [raw(RECORDS, "k")])
    retention.enforce(bench.connection)
    earliest = {tp: begin for tp, begin in bench.broker.begin_offsets(list(bench.spans)).items() if begin}
    assert earliest

    bench.loop(bench.claim()).run()

    row = bench.row()
    assert row.state == "failed"
    assert all(f"{tp.topic}/{tp.partition}: {offset}" in str(row.error) for tp, offset in earliest.items())
    assert bench.copied() == []


def test_on_commit_is_called_for_each_unit_and_for_the_first_cursor_of_a_worker(bench: Bench) -> None:
    heard: list[tuple[int, int]] = []

    def committed(cursor: JobCursor, records: Sequence[Record]) -> None:
        heard.append((cursor.counts.get("outputs", 0), len(records)))

    with pytest.raises(Killed):
        bench.loop(bench.claim(lease_s=0.0), transform=after(3, kill), committed=committed).run()
    bench.loop(bench.claim("two"), committed=committed).run()

    assert heard[:4] == [(0, 0), (10, 10), (20, 10), (20, 0)]
    assert heard[-1][0] == RECORDS
    assert sum(records for _, records in heard) == RECORDS


def test_the_cursor_is_in_the_unit_of_what_it_counts(bench: Bench) -> None:
    with pytest.raises(Killed):
        bench.loop(bench.claim(), transform=after(3, kill)).run()

    cursor = cursor_of(bench.broker.cursors(JOB_CURSORS)[bench.operation_id], bench.spans)

    assert cursor.counts == {"read": 20, "selected": 20, "outputs": 20}
    assert sum(cursor.next_offsets.values()) == 20


def test_the_rate_is_not_exceeded(bench: Bench) -> None:
    with working(bench.loop(bench.claim(), rate=40.0)):
        wait_until(lambda: bench.row().counts.get("outputs", 0) >= 40)
        begun, now = bench.connection.execute(
            "SELECT extract(epoch FROM started_at)::float8, extract(epoch FROM clock_timestamp())::float8"
            " FROM ops.operations"
        ).fetchone()  # type: ignore[misc]

    assert now - begun >= (40 - 20) / 40.0  # a unit of half a second may go at once


def test_a_job_waits_for_a_long_backlog_until_it_counts_as_stalled(bench: Bench) -> None:
    copies = [raw(number, f"c{number}") for number in range(MAX_BACKLOG + 2)]
    append(bench.broker, [each._replace(topic=CLEAN) for each in copies])
    downstream = frozenset({("loader", CLEAN)})

    with working(bench.loop(bench.claim(), downstream=downstream)):
        assert "loader" in str(wait_until(lambda: bench.row().waiting_for))
        assert bench.row().counts.get("outputs", 0) == 0
        wait_until(lambda: bench.row().state == "succeeded")

    assert bench.row().counts["outputs"] == RECORDS


def test_a_cursor_survives_its_encoding() -> None:
    tp = TopicPartition(RAW, 1)
    cursor = JobCursor({tp: 7}, {"read": 7})

    assert cursor_of(cursor.encode(), {tp: OffsetSpan(0, 9)}) == cursor


def test_a_slow_job_ticks_while_its_transform_works(bench: Bench) -> None:
    entered, opened = threading.Event(), threading.Event()

    def transform(records: Sequence[Record], unit: Unit) -> Mapping[str, int]:
        entered.set()
        opened.wait(DEADLINE_S)
        return copying(records, unit)

    loop = bench.loop(bench.claim(), transform=transform, slow=True)
    with working(loop):
        assert entered.wait(DEADLINE_S)
        for _ in range(3):
            seen = loop.ticked_at
            wait_until(lambda seen=seen: loop.ticked_at != seen)  # type: ignore[misc]
        assert bench.copied() == []
        opened.set()
        wait_until(lambda: bench.row().state == "succeeded")

    assert bench.copied() == ALL
