"""A replay of raw events with changed rules corrects the rows, without notifications unless requested."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from services.cleaner.handle import Cleaner
from services.loader.load import Loader
from services.notifier.notify import Notifier
from shared.broker.contract import NewRecord, Record
from shared.broker.postgres.broker import PostgresBroker
from shared.events import RawEvent, event_id_of
from shared.ops.operations import Operation
from shared.ops.replay_planning import plan_replay
from shared.ops.replays import request_of
from shared.ops.tables import jobs as jobs_table
from shared.ops.tables import operations as operations_table
from shared.ops.tables import replays as replays_table
from shared.records import DecodedRecord, encode
from shared.runtime.dead_letters.breaker import MAX_FAILURES
from shared.runtime.jobs.job_lease import JobLease
from shared.runtime.jobs.loop import JobLoop
from shared.runtime.jobs.replay import replay_job
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import Handle, Handler, InTransaction, InUnit
from shared.runtime.metrics import Metrics
from shared.topics import CLEAN, LOADED, RAW, dead_letter_topic, topic_specs
from tests.services.cleaner.synthetic_slices import DAY, card, payouts_123, raw, result
from tests.services.loader.facts import StillClock
from tests.services.loader.views import ask, tables
from tests.services.notifier.books import default_book
from tests.shared.runtime.loop_harness import append, contents

pytestmark = pytest.mark.slow
# Shortly after the synthetic events: older ones than a day cause no notifications.
NOW = datetime(2031, 5, 6, 4, 0, tzinfo=UTC)
EVENTS = range(1, 4)


def key(number: int) -> str:
    return f"boatrace:{DAY}:07:{number:02d}"


def raw_record(feed: str, body: dict[str, Any], number: int) -> NewRecord:
    message = raw(feed, body, event_key=key(number))
    return encode(message, RAW, "raw-event/1", event_id_of("boatrace", feed, key(number), "d"), "fetcher")


def changed_cleaner(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Handle:
    """A cleaner with changed rules: it changes the body of each result before it cleans it."""
    cleaner = Cleaner(lambda _reason: None)

    def handle(batch: Sequence[DecodedRecord]) -> Sequence[NewRecord]:
        return cleaner.handle([each._replace(message=_changed_message(each.message, change)) for each in batch])

    return handle


def _changed_message(message: RawEvent, change: Callable[[dict[str, Any]], dict[str, Any]]) -> RawEvent:
    return message.model_copy(update={"body": change(message.body)}) if message.feed == "results" else message


def multiply_payouts(body: dict[str, Any]) -> dict[str, Any]:
    payouts = {
        market: [row | {"payout": 1000 * row["payout"]} for row in rows] for market, rows in body["payouts"].items()
    }
    return body | {"payouts": payouts}


class Pipeline:
    """Cleaner, loader and notifier on the embedded log; the test runs them step by step."""

    def __init__(self, url: str, connection: psycopg.Connection[Any]) -> None:
        self.url, self.connection = url, connection
        self._stack = ExitStack()
        self.broker = PostgresBroker(url)
        self._stack.callback(self.broker.close)
        self.broker.ensure_topics(topic_specs(2))
        cleaner, loader = Cleaner(lambda _reason: None), Loader(StillClock(NOW), Metrics())
        notifier = Notifier(["console"], StillClock(NOW), default_book)
        self._steps = [
            self._step("cleaner", RAW, InUnit(cleaner.handle)),
            self._step("loader", CLEAN, InTransaction(loader.handle)),
            self._step("notifier", LOADED, InTransaction(notifier.handle)),
        ]

    def _step(self, service: str, topic: str, handler: Handler) -> Callable[[], None]:
        loop = ConsumerLoop(self.broker, service=service, slot="0", reads=[topic], metrics=Metrics(), handler=handler)
        consumer, producer = self.broker.consumer(service, [topic], service), self.broker.producer(service)
        self._stack.callback(producer.close)
        self._stack.callback(consumer.close)

        def drain() -> None:
            while sum(self.broker.committed(service, [topic]).values()) < self._end(topic):
                loop.step(consumer, producer)

        return drain

    def _end(self, topic: str) -> int:
        return sum(self.broker.end_offsets(self.broker.partitions(topic)).values())

    def drain(self) -> None:
        for step in self._steps:
            step()

    def replay(self, handle: Handle, **fields: Any) -> Operation:
        """Run a replay to its end and process its outputs."""
        plan = plan_replay(self.broker, request_of({"topic": RAW, **fields}), [RAW])
        with self.connection.transaction():
            operation = replays_table.start(self.connection, "cleaner", plan, "test", "")
        assert jobs_table.claim(self.connection, "cleaner", "one", ["replay"]) is not None
        job = replay_job(operation, InUnit(handle), 2000)
        JobLoop(self.broker, JobLease(self.url, operation.id, "one"), job).run()
        self.drain()
        ended = operations_table.get(self.connection, operation.id)
        assert ended is not None
        return ended

    def notification_rules(self) -> list[str]:
        """The rules of notifications about events; without the daily summary, which the live records cause."""
        rows = ask(self.connection, "SELECT rule FROM notifier.ledger WHERE rule <> 'daily' ORDER BY id")
        return [rule for (rule,) in rows]

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def pipeline(database_url: str, database: psycopg.Connection[Any]) -> Iterator[Pipeline]:
    """With three events that caused no notifications."""
    pipeline = Pipeline(database_url, database)
    try:
        for number in EVENTS:
            cards = card(race_number=number, race_closed_at=f"{DAY} 12:{number:02d}:00")
            results = result(race_number=number, payouts=payouts_123())
            append(pipeline.broker, [raw_record("programs", cards, number), raw_record("results", results, number)])
        pipeline.drain()
        assert pipeline.notification_rules() == []
        yield pipeline
    finally:
        pipeline.close()


def trifectas(pipeline: Pipeline) -> list[int]:
    rows = ask(
        pipeline.connection, "SELECT amount FROM analytics.transactions WHERE market = 'trifecta' ORDER BY event_key"
    )
    return [amount for (amount,) in rows]


def test_changed_rules_correct_the_rows_as_new_versions_silently(pipeline: Pipeline) -> None:
    assert trifectas(pipeline) == [1230] * 3

    operation = pipeline.replay(changed_cleaner(multiply_payouts))

    assert operation.counts == {"read": 6, "selected": 6, "outputs": 6, "dead_letters": 0}
    assert trifectas(pipeline) == [1_230_000] * 3
    versions = "SELECT version, revision FROM facts.versions WHERE kind = 'settled' ORDER BY event_id, version"
    assert ask(pipeline.connection, versions) == [(1, "0"), (2, operation.id)] * 3
    assert pipeline.notification_rules() == []


def test_a_replay_with_notify_causes_notifications(pipeline: Pipeline) -> None:
    pipeline.replay(changed_cleaner(multiply_payouts), keys=[key(2)], notify=True)

    assert pipeline.notification_rules().count("big-payout") == 1


def test_the_same_rules_write_nothing_new(pipeline: Pipeline) -> None:
    before = tables(pipeline.connection)

    pipeline.replay(Cleaner(lambda _reason: None).handle)

    assert tables(pipeline.connection) == before


def test_the_same_changed_rules_again_write_nothing_new(pipeline: Pipeline) -> None:
    pipeline.replay(changed_cleaner(multiply_payouts))
    before, versions = tables(pipeline.connection), "SELECT count(*) FROM facts.versions"
    count = ask(pipeline.connection, versions)

    pipeline.replay(changed_cleaner(multiply_payouts))

    assert (tables(pipeline.connection), ask(pipeline.connection, versions)) == (before, count)


def test_only_selected_records_are_corrected(pipeline: Pipeline) -> None:
    operation = pipeline.replay(changed_cleaner(multiply_payouts), keys=[key(2)], kinds=["results"])

    assert operation.counts["selected"] == 1
    assert trifectas(pipeline) == [1230, 1_230_000, 1230]


def letters(pipeline: Pipeline) -> list[Record]:
    return contents(pipeline.broker, dead_letter_topic("cleaner"))


def test_a_failed_record_becomes_a_dead_letter_with_the_revision_of_the_replay(pipeline: Pipeline) -> None:
    operation = pipeline.replay(changed_cleaner(lambda body: body | {"race_number": 99}), keys=[key(3)])

    (letter,) = letters(pipeline)
    assert operation.counts["dead_letters"] == 1
    assert letter.headers["revision"].decode() == operation.id
    assert letter.headers["dlq.original-topic"] == RAW.encode()


def test_a_replay_ends_before_it_fills_the_dead_letters(pipeline: Pipeline) -> None:
    append(pipeline.broker, [raw_record("results", result(race_number=1), 1)] * (MAX_FAILURES + 5))
    pipeline.drain()

    operation = pipeline.replay(changed_cleaner(lambda body: body | {"race_number": 99}), kinds=["results"])

    assert operation.state == "failed"
    assert "too many records of raw-events/0 failed" in str(operation.error)
    assert len(letters(pipeline)) <= MAX_FAILURES
