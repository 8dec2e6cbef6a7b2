"""The REST API of lag, with a meter on a real log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import httpx2
import pytest

from services.cleaner.settings import CleanerSettings
from shared.broker.contract import TopicPartition
from shared.broker.counting.backlog import GaplessBacklog
from shared.broker.postgres.broker import PostgresBroker
from shared.errors import TransientError
from shared.runtime.lag import LagMeter
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InUnit
from shared.runtime.metrics import Metrics
from shared.runtime.view import LoopView
from shared.topics import RAW
from tests.shared.runtime.api.admin_apps import assert_problem, serve_admin_app
from tests.shared.runtime.loop_harness import append, open_broker, raw, tp_of
from tests.shared.runtime.views import BrokenView


@pytest.fixture
def database_url(url: str) -> str:
    """The database of the log: to create a new one takes a second."""
    return url


@pytest.fixture
def broker(url: str) -> Iterator[PostgresBroker]:
    with closing(open_broker(url)) as broker:
        yield broker


@pytest.fixture
def client(settings: CleanerSettings, broker: PostgresBroker, url: str) -> Iterator[httpx2.Client]:
    loop = ConsumerLoop(
        broker, service="cleaner", slot="0", reads=[RAW], metrics=Metrics(), handler=InUnit(lambda _: [])
    )
    ignored = {tp_of("k"): 3, TopicPartition(RAW, 1 - tp_of("k").partition): -1}
    meter = LagMeter(open_broker(url), "cleaner", GaplessBacklog(url), ignored_offsets=lambda _: ignored)
    with closing(meter), serve_admin_app(settings, LoopView(loop, broker, "0", meter=meter)) as client:
        yield client


def test_lag_has_records_seconds_and_ignored_offsets(client: httpx2.Client, broker: PostgresBroker) -> None:
    append(broker, [raw(number) for number in range(3)])

    lags = {each["partition"]: each for each in client.get("/v1/lag").json()}

    waiting, empty = lags[tp_of("k").partition], lags[1 - tp_of("k").partition]
    assert 0 <= waiting.pop("seconds") < 60
    assert waiting == {
        "topic": RAW,
        "partition": tp_of("k").partition,
        "position": 0,
        "end": 3,
        "records": 3,
        "exact": True,
        "ignored_group_offset": 3,
    }
    assert (empty["records"], empty["seconds"], empty["ignored_group_offset"]) == (0, 0.0, None)
    detail = client.get("/v1/status").json()["detail"]
    assert detail["ignored_group_offsets"] == {f"{RAW}/{tp_of('k').partition}": 3}


def test_an_unavailable_broker_is_a_temporary_problem(settings: CleanerSettings) -> None:
    with serve_admin_app(
        settings, BrokenView(service="cleaner", error=TransientError("the log is unavailable"))
    ) as client:
        assert "unavailable" in assert_problem(client.get("/v1/lag"), 503, "unavailable")
