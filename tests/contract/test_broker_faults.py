"""What every broker must do: connections that break at any moment lose nothing and repeat nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from shared.broker.contract import Broker, Consumer, PollResult, Producer
from shared.errors import Aborted, BrokerError, Fenced, TransientError, Unknown
from tests.contract.conftest import Forgetful, Harness
from tests.contract.records import (
    advance,
    everything,
    fill,
    new,
    owning,
    poll_none,
    poll_some,
    put,
    until,
    values,
    wakes_up_at_once,
)


@pytest.fixture
def forgetful(harness: Harness) -> Iterator[Forgetful]:
    with harness.forgetful() as forgetful:
        yield forgetful


def finish(producer: Producer, polled: PollResult) -> None:
    with producer.unit() as unit:
        unit.append([new("other", value) for value in values(polled.records)])
        advance(unit, polled)
        unit.commit()


def test_a_poll_over_a_broken_connection_continues_after_at_most_a_transient_error(harness: Harness) -> None:
    with closing(owning(harness.broker.consumer("group", ["one"], "a"), 1)) as consumer:
        for value in ("first", "second"):
            assert harness.cut() > 0
            with suppress(TransientError):
                assert consumer.poll(0.1, 10).records == []
            fill_again(harness.broker, value)
            assert values(patient_poll(consumer).records) == [value]


def patient_poll(consumer: Consumer) -> PollResult:
    """The first poll that gives records, trouble that passes waited out."""
    found: list[PollResult] = []

    def poll() -> bool:
        polled = consumer.poll(0.2, 10)
        found.extend([polled] if polled.records else [])
        return bool(found)

    until(poll)
    return found[0]


def fill_again(broker: Broker, value: str) -> None:
    def filled() -> bool:
        fill(broker, "one", [value])
        return True

    until(filled)


def test_a_new_connection_listens_for_wake_ups_again(harness: Harness) -> None:
    with (
        closing(owning(harness.broker.consumer("group", ["one"], "a"), 1)) as consumer,
        closing(harness.broker.producer("p")) as producer,
    ):
        harness.cut(who="group consumer wake-up")
        until(lambda: consumer.poll(0.05, 10).records == [])

        wakes_up_at_once(consumer, producer)


def test_a_unit_over_a_broken_connection_is_committed_once(harness: Harness) -> None:
    """Aborted, or carried over to a new connection."""
    fill(harness.broker, "one", ["a"])
    with closing(harness.broker.consumer("group", ["one"], "a")) as consumer:
        with closing(harness.broker.producer("a")) as producer:
            polled = poll_some(consumer)
            harness.cut(who="producer")
            try:
                finish(producer, polled)
            except Aborted:
                assert everything(harness.broker, "other") == []
        with closing(harness.broker.producer("a")) as producer:
            consumer.reload()
            again = consumer.poll(0.5, 10)
            assert bool(again.records) == (everything(harness.broker, "other") == [])
            if again.records:
                finish(producer, again)

        until(lambda: values(everything(harness.broker, "other")) == ["a"])


def test_a_unit_whose_connection_broke_halfway_cannot_be_committed(harness: Harness) -> None:
    """What a handler wrote before the break is gone: a commit must not cover up for it."""
    fill(harness.broker, "one", ["a"])
    with (
        closing(harness.broker.consumer("group", ["one"], "a", in_database=True)) as consumer,
        closing(harness.broker.producer("a", in_database=True)) as producer,
    ):
        polled = poll_some(consumer)
        with producer.db_unit() as unit:
            unit.connection.execute("SELECT 1")
            harness.cut_database(who="producer")
            with pytest.raises(Exception, match=r"terminat|closed|lost"):
                unit.connection.execute("SELECT 1")
            with pytest.raises(TransientError):
                _ = unit.connection
            advance(unit, polled)
            with pytest.raises(Aborted):
                unit.commit()

    assert set(harness.broker.committed("group", ["one"]).values()) == {0}


@pytest.mark.parametrize("arrived", [False, True])
def test_after_a_commit_without_a_reply_a_reload_reads_the_committed_positions(
    harness: Harness, forgetful: Forgetful, arrived: bool
) -> None:
    fill(harness.broker, "one", ["a", "b"])
    with closing(forgetful.broker.consumer("group", ["one"], "a")) as consumer:
        with closing(forgetful.broker.producer("a")) as producer:
            polled = poll_some(consumer)
            forgetful.line.cut_at_commit(arrived=arrived)
            with pytest.raises(Unknown):
                finish(producer, polled)

        with closing(forgetful.broker.producer("a")) as producer:
            consumer.reload()
            if arrived:
                poll_none(consumer)
                with pytest.raises(Fenced):  # the caller did not believe it, and tries the same records again
                    finish(producer, polled)
            else:
                finish(producer, poll_some(consumer))

        until(lambda: values(everything(harness.broker, "other")) == ["a", "b"])


def test_a_unit_cannot_be_used_after_its_commit_failed(harness: Harness, forgetful: Forgetful) -> None:
    with closing(forgetful.broker.producer("a")) as producer:
        unit = producer.unit()
        unit.append([new("one", "x")])
        forgetful.line.cut_at_commit(arrived=False)
        with pytest.raises(Unknown):
            unit.commit()
        with pytest.raises(BrokerError):
            unit.commit()
        unit.abort()
    with closing(forgetful.broker.producer("a")) as producer:
        put(producer, [new("one", "y")])

    until(lambda: values(everything(harness.broker, "one")) == ["y"])
