"""Plans on the embedded log: pinned to what is there now, counted, and refused where they make no sense."""

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
from tests.shared.runtime.stage import append, broker_on, raw, tp_of

READS = (RAW, retry_topic("cleaner"))
# One in each of the two partitions.
LEFT, RIGHT = "2031-05-04:01:01", "2031-05-05:01:04"


@pytest.fixture
def database_url(url: str) -> str:
    """Not a fresh one, which takes a second, but one that was emptied."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.operations")
    return url


@pytest.fixture
def broker(database_url: str) -> Iterator[PostgresBroker]:
    """Ten raw events of each of two events, in turn."""
    with closing(broker_on(database_url)) as broker:
        for number in range(10):
            append(broker, [raw(number, LEFT), raw(number, RIGHT)])
        yield broker


@pytest.fixture
def database(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def planned(broker: PostgresBroker, since: dict[str, str] | None = None, **asked: Any) -> ReplayPlan:
    """`since`: what is no name in Python."""
    return plan_replay(broker, request_of({"topic": RAW, **asked, **(since or {})}), READS)


def spans(found: ReplayPlan) -> dict[int, tuple[int, int]]:
    return {p: (span.begin, span.end) for p, span in found.spans.items()}


def test_the_two_events_are_in_different_partitions() -> None:
    assert tp_of(LEFT) != tp_of(RIGHT)


@pytest.mark.parametrize("gapless", [True, False])
def test_without_a_window_all_records_are_planned(broker: PostgresBroker, gapless: bool) -> None:
    broker.gapless = gapless  # a broker with gaps is read to be counted
    found = planned(broker)

    assert spans(found) == {0: (0, 10), 1: (0, 10)}
    assert found.counts == {0: 10, 1: 10}
    assert found.first is not None
    assert found.last is not None
    assert (found.first.place, found.last.place) == (f"{RAW}/0/0", f"{RAW}/1/9")


def test_later_records_do_not_change_a_plan(broker: PostgresBroker) -> None:
    before = planned(broker)
    append(broker, [raw(10, LEFT)])

    require_plan_available(broker, before)

    assert planned(broker).selected == before.selected + 1 == 21


def test_offsets_apply_to_all_partitions_or_to_each(broker: PostgresBroker) -> None:
    assert spans(planned(broker, begin=3)) == {0: (3, 10), 1: (3, 10)}
    assert spans(planned(broker, begin=3, end=99)) == {0: (3, 10), 1: (3, 10)}
    assert spans(planned(broker, offsets={"1": {"begin": 2, "end": 5}})) == {1: (2, 5)}
    assert spans(planned(broker, offsets={"0": {}, "1": {"end": 1}})) == {0: (0, 10), 1: (0, 1)}


def test_an_exact_key_is_planned_in_its_partition_only(broker: PostgresBroker) -> None:
    found = planned(broker, keys=[f"made-up:{LEFT}"], begin=4)

    assert (spans(found), found.selected) == ({tp_of(LEFT).partition: (4, 10)}, 6)


def test_a_plan_is_as_narrow_as_what_it_selects(broker: PostgresBroker) -> None:
    append(broker, [raw(10, LEFT), raw(11, "2031-05-06:01:01"), raw(12, LEFT)])

    found = planned(broker, keys=["made-up:2031-05-06*"])

    (span,) = found.spans.values()
    assert (found.selected, span.end - span.begin) == (1, 1)
    assert found.first == found.last


def test_record_time_is_when_a_record_was_appended(broker: PostgresBroker, database: psycopg.Connection[Any]) -> None:
    found = broker.reader(broker.partitions(RAW))
    with closing(found) as reader:
        times = sorted({record.timestamp_ms for record in reader.poll(1.0, 100)})
    middle = datetime.fromtimestamp(times[len(times) // 2] / 1000, UTC).isoformat()

    before, after = planned(broker, to=middle), planned(broker, {"from": middle})

    assert before.selected + after.selected == 20
    assert before.selected > 0
    assert after.selected > 0
    assert planned(broker, {"from": "1900-01-01T00:00:00Z"}).selected == 20
    assert planned(broker, to="1900-01-01T00:00:00Z").selected == 0


def test_event_time_is_the_time_of_the_event(broker: PostgresBroker) -> None:
    found = planned(broker, {"from": "2031-05-05T00:00:00Z"}, time="event")

    assert (found.selected, list(found.spans)) == (10, [tp_of(RIGHT).partition])


def test_feeds_are_those_in_the_log(broker: PostgresBroker) -> None:
    assert planned(broker, kinds=["programs"]).selected == 20
    with pytest.raises(ConfigError, match=r"'results'.*programs"):
        planned(broker, kinds=["results"])


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"topic": CLEAN}, "expected one of raw-events"),
        ({"topic": "cleaner.retry"}, "expected one of raw-events"),
        ({"offsets": {"2": {}}}, "partitions 0 to 1, not 2"),
        ({"offsets": {"0": {"end": 11}}}, "ends at 10"),
        ({"offsets": {"0": {"begin": 11}}}, "ends at 10"),
    ],
)
def test_unknown_topics_partitions_and_offsets_are_refused(broker: PostgresBroker, asked: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        planned(broker, **asked)


def test_offsets_removed_by_retention_are_refused_with_the_earliest_offset(
    broker: PostgresBroker, database: psycopg.Connection[Any]
) -> None:
    whole = planned(broker)
    database.execute("UPDATE broker.topics SET retention_s = 3600 WHERE name = %s", (RAW,))
    database.execute("UPDATE broker.log SET last_ms = 0 WHERE base_off < 4")
    retention.enforce(database)

    with pytest.raises(NotPossible, match=rf"{RAW}/0: 4, {RAW}/1: 4"):
        require_plan_available(broker, whole)
    with pytest.raises(NotPossible, match=rf"{RAW}/0: 4"):
        planned(broker, offsets={"0": {"begin": 2}})
    with pytest.raises(NotPossible):
        planned(broker, begin=3)
    assert spans(planned(broker)) == spans(planned(broker, begin=0)) == {0: (4, 10), 1: (4, 10)}
    require_plan_available(broker, ReplayPlan(whole.request, {0: OffsetSpan(4, 10)}, {0: 6}))


def test_partitions_without_records_are_not_in_the_plan(broker: PostgresBroker) -> None:
    assert broker.end_offsets([TopicPartition(RAW, 0)])[TopicPartition(RAW, 0)] == 10
    assert planned(broker, begin=10).spans == {}
    assert planned(broker, begin=10).first is None
