"""The loader with the real loop and the embedded broker: rows, positions and loaded-events commit together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from services.loader.load import Loader
from shared.broker.contract import NewRecord, Record, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import ReconnectingConnection
from shared.events import LoadedEvent, Reference, ReferenceRow, event_id_of
from shared.records import encode
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InTransaction
from shared.runtime.metrics import Metrics
from shared.topics import CLEAN, DEAD_LETTERS, LOADED, PREDICTIONS, topic_specs
from tests.services.loader.facts import (
    SOURCE,
    StillClock,
    at,
    entry,
    key,
    listed,
    observed,
    prediction_of,
    received,
    settled,
)
from tests.services.loader.views import ask, tables
from tests.waiting import wait_until

READS = (CLEAN, PREDICTIONS, *DEAD_LETTERS)


def record(fact: Any) -> NewRecord:
    item = received(fact)
    return encode(fact, CLEAN, "clean-event/1", item.event_id, "cleaner")


def prediction(number: int) -> NewRecord:
    record_id = event_id_of(SOURCE, "p", key(number), "f")
    return encode(prediction_of(number), PREDICTIONS, "prediction/1", record_id, "predictor")


class Pipe:
    """A loader whose loop a test steps, and its topics."""

    def __init__(self, url: str, *, separate: bool = False, is_owner: bool = True) -> None:
        self.url = url
        self.broker = PostgresBroker(url)
        if is_owner:
            self.broker.ensure_topics(topic_specs())
        self.metrics = Metrics()
        # With a lock timeout, a loader that deadlocks with itself fails instead of hanging.
        self.shared = ReconnectingConnection(
            make_conninfo(url, options="-c lock_timeout=60s"), "shared", autocommit=True
        )
        loader = Loader(StillClock(), self.metrics, shared_link=self.shared if separate else None)
        self.loop = ConsumerLoop(
            self.broker,
            service="loader",
            slot="0",
            reads=READS,
            metrics=self.metrics,
            handler=InTransaction(loader.handle),
        )
        self.consumer = self.broker.consumer("loader", READS, "loader-0")
        self.producer = self.broker.producer("loader-0")
        self._writer = self.broker.producer("loader-test")

    def send(self, *records: NewRecord) -> None:
        with self._writer.unit() as unit:
            unit.append(records)
            unit.commit()

    def drain(self) -> None:
        wait_until(lambda: not self.lag() or (not self.loop.step(self.consumer, self.producer) and not self.lag()))

    def lag(self) -> int:
        positions = self.broker.committed("loader", READS)
        ends = self.broker.end_offsets(list(positions))
        return sum(ends[tp] - position for tp, position in positions.items())

    def loaded_events(self) -> list[LoadedEvent]:
        tps = self.broker.partitions(LOADED)
        reader = self.broker.reader(tps)
        begin = self.broker.begin_offsets(tps)
        for tp in tps:
            reader.seek(tp, begin[tp])
        records: list[Record] = []
        count = sum(self.broker.end_offsets(tps).values())
        while len(records) < count:
            records += reader.poll(1.0, 1000)
        reader.close()
        return [LoadedEvent.model_validate_json(item.value) for item in records]

    def close(self) -> None:
        for part in (self.consumer, self.producer, self._writer, self.broker):
            part.close()
        self.shared.drop()


@contextmanager
def open_pipe(url: str, *, separate: bool = False, is_owner: bool = True) -> Iterator[Pipe]:
    """Only the owner of the database creates topics."""
    pipe = Pipe(url, separate=separate, is_owner=is_owner)
    try:
        yield pipe
    finally:
        pipe.close()


@pytest.fixture(params=[False, True], ids=["in one transaction", "shared rows in their own transaction"])
def pipe(database_url: str, request: pytest.FixtureRequest) -> Iterator[Pipe]:
    with open_pipe(database_url, separate=request.param) as pipe:
        yield pipe


def test_records_become_rows_and_emit_one_loaded_event_each(pipe: Pipe, database: psycopg.Connection[Any]) -> None:
    facts = [record(fact(number)) for number in (1, 2, 3) for fact in (settled, listed, observed)]
    pipe.send(*facts)
    pipe.drain()
    assert ask(database, "SELECT status, version FROM analytics.events") == [("settled", 3)] * 3
    assert ask(database, "SELECT count(*) FROM analytics.parked") == [(0,)]
    loaded_events = pipe.loaded_events()
    assert len(loaded_events) == 9
    for number in (1, 2, 3):
        kinds = [item.kind for item in loaded_events if item.event_key == key(number)]
        assert kinds[0] == "listed"
    before = tables(database)
    pipe.send(*facts)
    pipe.drain()
    assert tables(database) == before
    assert len(pipe.loaded_events()) == 9


def reference_data() -> NewRecord:
    table = Reference(
        source=SOURCE,
        event_key=f"{SOURCE}:reference:venues",
        known_at=at(-500),
        document_hash="d",
        table="venues",
        rows=(ReferenceRow(code="7", name="East"), ReferenceRow(code="8", name="West")),
    )
    record_id = event_id_of(SOURCE, "reference", table.event_key, "d")
    return encode(table, CLEAN, "clean-event/1", record_id, "cleaner")


@pytest.mark.parametrize("with_invalid", [False, True])
def test_reference_data_and_its_first_events_may_share_a_batch(
    pipe: Pipe, database: psycopg.Connection[Any], with_invalid: bool
) -> None:
    # Every card adds a category to the same entity, so each part of the batch changes a row that the others refer to.
    cards = [record(listed(number, entries=(entry(1, categories_of={f"c{number}": 1}),))) for number in range(1, 5)]
    facts = [fact for number, card in enumerate(cards, start=1) for fact in (card, record(settled(number)))]
    # Refused before any row is written.
    invalid = [record(listed(9, known=None, known_after_s=1e14))] if with_invalid else []
    pipe.send(reference_data(), *facts[:3], *invalid, *facts[3:], record(listed(1, known=-200, title="x")))
    pipe.drain()
    assert ask(database, "SELECT venue_name, status FROM analytics.sessions") == [("East", "settled")]
    assert ask(database, "SELECT count(*), count(*) FILTER (WHERE title = 'x') FROM analytics.events") == [(4, 1)]
    assert ask(database, "SELECT categories FROM analytics.entities WHERE entity_key = 'river:101'") == [
        ({"class": 2} | {f"c{number}": 1 for number in range(1, 5)},)
    ]
    assert sorted(item.kind for item in pipe.loaded_events()) == ["listed"] * 5 + ["reference"] + ["settled"] * 4


def test_only_the_invalid_records_of_a_batch_become_dead_letters(pipe: Pipe, database: psycopg.Connection[Any]) -> None:
    """The batch is halved repeatedly within one transaction; the valid parts count once."""
    good = [record(fact(number)) for number in range(1, 9) for fact in (listed, observed, settled)]
    invalid = NewRecord(CLEAN, key(4).encode(), b"{", good[0].headers)
    refused = record(listed(4, title="a\0b", known=-100))
    pipe.send(*good[:11], invalid, *good[11:14], refused, *good[14:], prediction(1), prediction(99))
    pipe.drain()
    assert ask(database, "SELECT status, version FROM analytics.events") == [("settled", 3)] * 8
    assert ask(database, "SELECT bets FROM analytics.return_rates WHERE scope = 'all' AND market = 'win'") == [(32,)]
    assert ask(database, "SELECT count(*) FROM analytics.predictions") == [(1,)]
    assert len(pipe.loaded_events()) == 24
    dead_letters = ask(database, "SELECT service, error, message FROM analytics.dead_letters ORDER BY message")
    assert [(service, error) for service, error, _ in dead_letters] == [("loader", "InvalidEvent")] * 2
    assert "rejects a value" in dead_letters[0][2]
    assert ask(database, "SELECT event_key FROM analytics.parked") == [(key(99),)]


def test_dead_letters_of_all_services_are_stored_in_one_table(pipe: Pipe, database: psycopg.Connection[Any]) -> None:
    pipe.send(
        *(NewRecord(topic, b"\xff\x00", b"\xfe\x00", {"dlq.exception-message": b"x\x00y"}) for topic in DEAD_LETTERS)
    )
    pipe.drain()
    assert [service for (service,) in ask(database, "SELECT service FROM analytics.dead_letters ORDER BY 1")] == sorted(
        topic.removesuffix(".dlq") for topic in DEAD_LETTERS
    )
    assert sum(pipe.broker.end_offsets([TopicPartition("loader.dlq", 0)]).values()) == 1


def test_the_loaders_role_has_the_rights_it_needs(
    roles: Callable[[str], dict[str, str]], database: psycopg.Connection[Any], database_url: str
) -> None:
    with open_pipe(database_url) as owner:
        owner.send(*(record(fact(number)) for number in (1, 2) for fact in (settled, listed, observed)))
        owner.send(record(settled(1, known=30, technique=4, transactions=())), NewRecord("cleaner.dlq", b"k", b"", {}))
    with open_pipe(roles(database_url)["headrace_loader"], is_owner=False) as pipe:
        pipe.drain()
    assert ask(database, "SELECT status FROM analytics.events") == [("settled",)] * 2
    assert ask(database, "SELECT count(*) FROM analytics.corrections") == [(1,)]
    assert ask(database, "SELECT count(*) FROM analytics.dead_letters") == [(1,)]
