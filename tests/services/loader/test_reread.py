"""A new database behind topics that exist: the loader reads them from the start, on both brokers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from services.loader.load import Loader
from shared.broker.contract import NewRecord
from shared.events import event_id_of
from shared.records import encode
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InTransaction
from shared.runtime.metrics import Metrics
from shared.topics import CLEAN, PREDICTIONS
from tests.either_broker import BROKERS, OpenBroker, run_broker
from tests.services.loader.facts import SOURCE, StillClock, key, listed, observed, prediction_of, received, settled
from tests.services.loader.views import ask
from tests.shared.runtime.loop_harness import run_in_thread
from tests.waiting import wait_until

EVENTS = range(1, 61)


@pytest.fixture(params=BROKERS)
def open_broker(request: pytest.FixtureRequest, database_url: str) -> Iterator[OpenBroker]:
    with run_broker(request, database_url) as open_broker:
        yield open_broker


def clean(fact: Any) -> NewRecord:
    return encode(fact, CLEAN, "clean-event/1", received(fact).event_id, "cleaner")


def prediction(number: int) -> NewRecord:
    record_id = event_id_of(SOURCE, "p", key(number), "f")
    return encode(prediction_of(number), PREDICTIONS, "prediction/1", record_id, "predictor")


def test_predictions_that_are_read_before_their_events_wait_for_them(
    open_broker: OpenBroker, database: psycopg.Connection[Any]
) -> None:
    """The loader reads both topics in equal shares, and there are several facts for each prediction."""
    broker, metrics = open_broker(), Metrics()
    loader = Loader(StillClock(), metrics)
    loop = ConsumerLoop(
        broker, service="loader", slot="0", reads=[CLEAN, PREDICTIONS], metrics=metrics,
        handler=InTransaction(loader.handle), max_records=20,
    )  # fmt: skip
    facts = [clean(fact(number)) for number in EVENTS for fact in (listed, observed, settled)]
    with closing(broker.producer("history")) as producer, producer.unit() as unit:
        unit.append([*map(prediction, EVENTS), *facts])
        unit.commit()

    with run_in_thread(loop) as thread:
        wait_until(lambda: ask(database, "SELECT count(*) FROM facts.versions") == [(3 * len(EVENTS),)])
        wait_until(lambda: ask(database, "SELECT count(*) FROM analytics.predictions") == [(len(EVENTS),)])
        assert thread.error is None

    assert sum(broker.end_offsets(broker.partitions("loader.dlq")).values()) == 0
    assert (metrics.registry.get_sample_value("headrace_units_total", {"outcome": "committed"}) or 0) > 1
    assert ask(database, "SELECT count(*) FROM analytics.parked") == [(0,)]
    assert ask(database, "SELECT count(*) FROM ops.holds") == [(0,)]
