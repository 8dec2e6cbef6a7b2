"""Contract of every broker: connections that break at any moment lose nothing and repeat nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from shared.broker.contract import Broker, Consumer, PollResult, Producer
from shared.errors import Aborted, BrokerError, Fenced, TransientError, Unknown
from tests.contract.conftest import Harness, ProxiedBroker
from tests.contract.records import (
    advance,
    assert_no_records,
    fill,
    new_record,
    poll_some,
    put,
    read_all,
    until,
    values,
    wait_for_partitions,
    wait_for_prompt_wake_ups,
)


@pytest.fixture
def proxied(harness: Harness) -> Iterator[ProxiedBroker]:
    with harness.proxied() as proxied:
        yield proxied


def process(producer: Producer, polled: PollResult) -> None:
    with producer.unit() as unit:
        unit.append([new_record("other", value) for value in values(polled.records)])
        advance(unit, polled)
        unit.commit()


def test_a_poll_over_a_broken_connection_continues_after_at_most_a_transient_error(harness: Harness) -> None:
    with closing(wait_for_partitions(harness.broker.consumer("group", ["one"], "a"), 1)) as consumer:
        for value in ("first", "second"):
            assert harness.cut() > 0
            with suppress(TransientError):
                assert consumer.poll(0.1, 10).records == []
            fill_with_retries(harness.broker, value)
            assert values(poll_with_retries(consumer).records) == [value]


def poll_with_retries(consumer: Consumer) -> PollResult:
    """The first poll that returns records; transient errors are retried."""
    results: list[PollResult] = []

    def poll() -> bool:
        polled = consumer.poll(0.2, 10)
        results.extend([polled] if polled.records else [])
        return bool(results)

    until(poll)
    return results[0]


def fill_with_retries(broker: Broker, value: str) -> None:
    def filled() -> bool:
        fill(broker, "one", [value])
        return True

    until(filled)


def test_a_new_connection_listens_for_wake_ups_again(harness: Harness) -> None:
    with (
        closing(wait_for_partitions(harness.broker.consumer("group", ["one"], "a"), 1)) as consumer,
        closing(harness.broker.producer("p")) as producer,
    ):
        harness.cut(client="group consumer wake-up")
        until(lambda: consumer.poll(0.05, 10).records == [])

        wait_for_prompt_wake_ups(consumer, producer)


def test_a_unit_over_a_broken_connection_is_committed_once(harness: Harness) -> None:
    """It is aborted, or repeated on a new connection."""
    fill(harness.broker, "one", ["a"])
    with closing(harness.broker.consumer("group", ["one"], "a")) as consumer:
        with closing(harness.broker.producer("a")) as producer:
            polled = poll_some(consumer)
            harness.cut(client="producer")
            try:
                process(producer, polled)
            except Aborted:
                assert read_all(harness.broker, "other") == []
        with closing(harness.broker.producer("a")) as producer:
            consumer.reload()
            again = consumer.poll(0.5, 10)
            assert bool(again.records) == (read_all(harness.broker, "other") == [])
            if again.records:
                process(producer, again)

        until(lambda: values(read_all(harness.broker, "other")) == ["a"])


def test_a_unit_whose_connection_broke_halfway_cannot_be_committed(harness: Harness) -> None:
    """The rows that the handler wrote before the break are lost, so the commit must fail."""
    fill(harness.broker, "one", ["a"])
    with (
        closing(harness.broker.consumer("group", ["one"], "a", in_database=True)) as consumer,
        closing(harness.broker.producer("a", in_database=True)) as producer,
    ):
        polled = poll_some(consumer)
        with producer.db_unit() as unit:
            unit.connection.execute("SELECT 1")
            harness.cut_database(client="producer")
            with pytest.raises(Exception, match=r"terminat|closed|lost"):
                unit.connection.execute("SELECT 1")
            with pytest.raises(TransientError):
                _ = unit.connection
            advance(unit, polled)
            with pytest.raises(Aborted):
                unit.commit()

    assert set(harness.broker.committed("group", ["one"]).values()) == {0}


@pytest.mark.parametrize("delivered", [False, True])
def test_after_a_commit_without_a_reply_a_reload_reads_the_committed_positions(
    harness: Harness, proxied: ProxiedBroker, delivered: bool
) -> None:
    fill(harness.broker, "one", ["a", "b"])
    with closing(proxied.broker.consumer("group", ["one"], "a")) as consumer:
        with closing(proxied.broker.producer("a")) as producer:
            polled = poll_some(consumer)
            proxied.proxy.cut_at_commit(delivered=delivered)
            with pytest.raises(Unknown):
                process(producer, polled)

        with closing(proxied.broker.producer("a")) as producer:
            consumer.reload()
            if delivered:
                assert_no_records(consumer)
                with pytest.raises(Fenced):  # the caller tries the same records again
                    process(producer, polled)
            else:
                process(producer, poll_some(consumer))

        until(lambda: values(read_all(harness.broker, "other")) == ["a", "b"])


def test_a_unit_cannot_be_used_after_its_commit_failed(harness: Harness, proxied: ProxiedBroker) -> None:
    with closing(proxied.broker.producer("a")) as producer:
        unit = producer.unit()
        unit.append([new_record("one", "x")])
        proxied.proxy.cut_at_commit(delivered=False)
        with pytest.raises(Unknown):
            unit.commit()
        with pytest.raises(BrokerError):
            unit.commit()
        unit.abort()
    with closing(proxied.broker.producer("a")) as producer:
        put(producer, [new_record("one", "y")])

    until(lambda: values(read_all(harness.broker, "one")) == ["y"])
