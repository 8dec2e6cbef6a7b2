"""Replay plans on the embedded log: fixed offsets, counts, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from shared.broker.contract import TopicPartition
from shared.broker.postgres import retention
from shared.broker.postgres.broker import PostgresBroker
from shared.errors import ConfigError
from shared.ops.operations import NotPossible
from shared.ops.replay_planning import plan_replay, require_plan_available
from shared.ops.replays import OffsetSpan, ReplayPlan, request_of
from shared.topics import CLEAN, RAW, retry_topic
from tests.shared.runtime.loop_harness import append, open_broker, raw, tp_of

READS = (RAW, retry_topic("cleaner"))
# Their events are in different partitions.
LEFT, RIGHT = "2031-05-04:01:01", "2031-05-05:01:04"


@pytest.fixture
def database_url(url: str) -> str:
    """An emptied database: to create a new one takes a second."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.operations")
    return url


@pytest.fixture
def broker(database_url: str) -> Iterator[PostgresBroker]:
    """Ten raw events of each of two events, alternating."""
    with closing(open_broker(database_url)) as broker:
        for number in range(10):
            append(broker, [raw(number, LEFT), raw(number, RIGHT)])
        yield broker


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def plan(broker: PostgresBroker, more: dict[str, str] | None = None, **fields: Any) -> ReplayPlan:
    """`more`: fields whose names are keywords in Python."""
    return plan_replay(broker, request_of({"topic": RAW, **fields, **(more or {})}), READS)


def spans(replay_plan: ReplayPlan) -> dict[int, tuple[int, int]]:
    return {p: (span.begin, span.end) for p, span in replay_plan.spans.items()}


def test_the_two_events_are_in_different_partitions() -> None:
    assert tp_of(LEFT) != tp_of(RIGHT)


@pytest.mark.parametrize("gapless", [True, False])
def test_without_a_window_all_records_are_planned(broker: PostgresBroker, gapless: bool) -> None:
    broker.gapless = gapless  # without it the records are read and counted
    replay_plan = plan(broker)

    assert spans(replay_plan) == {0: (0, 10), 1: (0, 10)}
    assert replay_plan.counts == {0: 10, 1: 10}
    assert replay_plan.first is not None
    assert replay_plan.last is not None
    assert (replay_plan.first.place, replay_plan.last.place) == (f"{RAW}/0/0", f"{RAW}/1/9")


def test_later_records_do_not_change_a_plan(broker: PostgresBroker) -> None:
    before = plan(broker)
    append(broker, [raw(10, LEFT)])

    require_plan_available(broker, before)

    assert plan(broker).selected == before.selected + 1 == 21


def test_offsets_apply_to_all_partitions_or_to_each(broker: PostgresBroker) -> None:
    assert spans(plan(broker, begin=3)) == {0: (3, 10), 1: (3, 10)}
    assert spans(plan(broker, begin=3, end=99)) == {0: (3, 10), 1: (3, 10)}
    assert spans(plan(broker, offsets={"1": {"begin": 2, "end": 5}})) == {1: (2, 5)}
    assert spans(plan(broker, offsets={"0": {}, "1": {"end": 1}})) == {0: (0, 10), 1: (0, 1)}


def test_an_exact_key_is_planned_in_its_partition_only(broker: PostgresBroker) -> None:
    replay_plan = plan(broker, keys=[f"made-up:{LEFT}"], begin=4)

    assert (spans(replay_plan), replay_plan.selected) == ({tp_of(LEFT).partition: (4, 10)}, 6)


def test_a_plan_is_as_narrow_as_what_it_selects(broker: PostgresBroker) -> None:
    append(broker, [raw(10, LEFT), raw(11, "2031-05-06:01:01"), raw(12, LEFT)])

    replay_plan = plan(broker, keys=["made-up:2031-05-06*"])

    (span,) = replay_plan.spans.values()
    assert (replay_plan.selected, span.end - span.begin) == (1, 1)
    assert replay_plan.first == replay_plan.last


def test_record_time_is_when_a_record_was_appended(broker: PostgresBroker, database: psycopg.Connection[Any]) -> None:
    with closing(broker.reader(broker.partitions(RAW))) as reader:
        times = sorted({record.timestamp_ms for record in reader.poll(1.0, 100)})
    middle = datetime.fromtimestamp(times[len(times) // 2] / 1000, UTC).isoformat()

    before, after = plan(broker, to=middle), plan(broker, {"from": middle})

    assert before.selected + after.selected == 20
    assert before.selected > 0
    assert after.selected > 0
    assert plan(broker, {"from": "1900-01-01T00:00:00Z"}).selected == 20
    assert plan(broker, to="1900-01-01T00:00:00Z").selected == 0


def test_event_time_is_the_time_of_the_event(broker: PostgresBroker) -> None:
    replay_plan = plan(broker, {"from": "2031-05-05T00:00:00Z"}, time="event")

    assert (replay_plan.selected, list(replay_plan.spans)) == (10, [tp_of(RIGHT).partition])


def test_feeds_are_those_in_the_log(broker: PostgresBroker) -> None:
    assert plan(broker, kinds=["programs"]).selected == 20
    with pytest.raises(ConfigError, match=r"'results'.*programs"):
        plan(broker, kinds=["results"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"topic": CLEAN}, "expected one of raw-events"),
        ({"topic": "cleaner.retry"}, "expected one of raw-events"),
        ({"offsets": {"2": {}}}, "partitions 0 to 1, not 2"),
        ({"offsets": {"0": {"end": 11}}}, "ends at 10"),
        ({"offsets": {"0": {"begin": 11}}}, "ends at 10"),
    ],
)
def test_unknown_topics_partitions_and_offsets_are_refused(
    broker: PostgresBroker, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(broker, **fields)


def test_offsets_removed_by_retention_are_refused_with_the_earliest_offset(
    broker: PostgresBroker, database: psycopg.Connection[Any]
) -> None:
    whole = plan(broker)
    database.execute("UPDATE broker.topics SET retention_s = 3600 WHERE name = %s", (RAW,))
    database.execute("UPDATE broker.log SET last_ms = 0 WHERE base_off < 4")
    retention.enforce(database)

    with pytest.raises(NotPossible, match=rf"{RAW}/0: 4, {RAW}/1: 4"):
        require_plan_available(broker, whole)
    with pytest.raises(NotPossible, match=rf"{RAW}/0: 4"):
        plan(broker, offsets={"0": {"begin": 2}})
    with pytest.raises(NotPossible):
        plan(broker, begin=3)
    assert spans(plan(broker)) == spans(plan(broker, begin=0)) == {0: (4, 10), 1: (4, 10)}
    require_plan_available(broker, ReplayPlan(whole.request, {0: OffsetSpan(4, 10)}, {0: 6}))


def test_partitions_without_records_are_not_in_the_plan(broker: PostgresBroker) -> None:
    assert broker.end_offsets([TopicPartition(RAW, 0)])[TopicPartition(RAW, 0)] == 10
    assert plan(broker, begin=10).spans == {}
    assert plan(broker, begin=10).first is None
