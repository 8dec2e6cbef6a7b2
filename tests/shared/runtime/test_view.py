"""The status, readiness and lag of a loop on a real log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.database.embedded import EmbeddedPostgres
from shared.broker.counting.backlog import GaplessBacklog
from shared.broker.postgres.broker import PostgresBroker
from shared.runtime.lag import LagMeter
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InUnit
from shared.runtime.metrics import Metrics
from shared.runtime.view import ALIVE_S, LoopView
from shared.topics import RAW
from tests.shared.runtime.loop_harness import append, committed_count, open_broker, raw, run_in_thread
from tests.waiting import wait_until


@pytest.fixture
def broker(url: str) -> Iterator[PostgresBroker]:
    broker = open_broker(url)
    yield broker
    broker.close()


@pytest.fixture
def loop(broker: PostgresBroker) -> ConsumerLoop:
    return ConsumerLoop(
        broker, service="cleaner", slot="0", reads=[RAW], metrics=Metrics(), handler=InUnit(lambda batch: [])
    )


@pytest.fixture
def meter(url: str) -> Iterator[LagMeter]:
    meter = LagMeter(open_broker(url), "cleaner", GaplessBacklog(url))
    yield meter
    meter.close()


def test_lag_is_what_the_group_has_not_committed(broker: PostgresBroker, loop: ConsumerLoop, meter: LagMeter) -> None:
    view = LoopView(loop, broker, "0", meter=meter)
    append(broker, [raw(number, key) for key in "abcdefgh" for number in range(2)])

    before = view.lag()
    with run_in_thread(loop):
        wait_until(lambda: committed_count(broker) == 16)
    append(broker, [raw(3, "a")])
    after = view.lag()

    assert sum(each["records"] for each in before) == 16
    assert [(each["topic"], each["partition"]) for each in before] == [(RAW, 0), (RAW, 1)]
    assert sum(each["records"] for each in after) == 1
    assert all(each["records"] == each["end"] - each["position"] for each in after)
    assert [each["seconds"] > 0 for each in after] == [each["records"] > 0 for each in after]


def test_a_service_that_reads_no_topic_has_no_lag(broker: PostgresBroker, loop: ConsumerLoop) -> None:
    assert LoopView(loop, broker, "0").lag() == []


def test_a_loop_is_ready_while_it_runs_and_not_before_or_after(broker: PostgresBroker, loop: ConsumerLoop) -> None:
    view = LoopView(loop, broker, "0", lambda: {"windows": 3})
    assert view.ready() == (False, "starting")

    with run_in_thread(loop):
        wait_until(lambda: view.ready() == (True, "2 partitions"))
        assert view.status() == {
            "service": "cleaner",
            "replica": "0",
            "state": "running",
            "detail": {"windows": 3, "partitions": 2},
        }

    assert view.ready() == (False, "stopped")


def test_a_running_loop_is_not_ready_while_its_broker_is_unavailable(
    postgres: EmbeddedPostgres, loop: ConsumerLoop
) -> None:
    loop.state = "running"
    unavailable = PostgresBroker(postgres.url_with_password(database="nowhere"))

    ready, reason = LoopView(loop, unavailable, "0").ready()

    assert not ready
    assert "nowhere" in reason


def test_a_loop_that_has_not_ticked_for_long_is_not_alive(broker: PostgresBroker, loop: ConsumerLoop) -> None:
    view = LoopView(loop, broker, "0")
    assert view.alive()

    loop.ticked_at -= ALIVE_S

    assert not view.alive()


def test_the_current_error_is_shown_with_the_state(broker: PostgresBroker, loop: ConsumerLoop) -> None:
    loop.state, loop.trouble = "backing off", "the source is away"

    assert LoopView(loop, broker, "0").ready() == (False, "backing off: the source is away")


def test_a_service_with_a_background_task_that_does_not_move_is_not_ready(
    broker: PostgresBroker, loop: ConsumerLoop
) -> None:
    problem = "the background task exports has not moved for 61 s"
    view = LoopView(loop, broker, "0", problem=lambda: problem)
    loop.state = "running"

    assert view.ready() == (False, problem)
    problem = ""
    assert view.ready()[0]
