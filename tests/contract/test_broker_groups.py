"""Contract of every broker: the members of a group share the partitions and replace each other."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from shared.broker.contract import Consumer
from shared.errors import Fenced
from tests.contract.conftest import LONG_LEASE_S, Harness
from tests.contract.records import (
    advance,
    fill,
    new_record,
    poll_some,
    read_all,
    settle,
    until,
    values,
    wait_for_partitions,
    write,
)
from tests.processes import wait_for_line
from tests.waiting import DEADLINE_S

pytestmark = pytest.mark.slow
Child = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def child(harness: Harness, repository: Path) -> Iterator[Child]:
    """Starts processes of child.py; kills those that are left at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(harness.command(*arguments), cwd=repository, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def members(harness: Harness, *slots: str, topic: str = "many") -> Iterator[list[Consumer]]:
    consumers = [harness.new_broker().consumer("group", [topic], slot) for slot in slots]
    yield consumers
    for consumer in consumers:
        consumer.close()


def is_balanced(consumers: list[Consumer], *counts: int) -> bool:
    for consumer in consumers:
        consumer.poll(0.02, 1)
    owned = [consumer.assignment() for consumer in consumers]
    return [len(each) for each in owned] == list(counts) and len(frozenset().union(*owned)) == sum(counts)


@pytest.mark.parametrize("lease_s", [LONG_LEASE_S])
def test_two_members_share_and_when_one_leaves_the_other_takes_all(harness: Harness) -> None:
    with members(harness, "a", "b") as (first, second):
        until(lambda: is_balanced([first, second], 2, 2))

        second.close()

        until(lambda: is_balanced([first], 4), harness.lease_s - 5)


def test_a_member_that_joins_gets_its_share(harness: Harness) -> None:
    with members(harness, "a") as (first,):
        until(lambda: is_balanced([first], 4))
        with members(harness, "b") as (second,):
            until(lambda: is_balanced([first, second], 2, 2))


def test_more_members_than_partitions_leaves_some_idle(harness: Harness) -> None:
    with members(harness, "a", "b", topic="one") as (first, second):
        until(lambda: is_balanced([first, second], 1, 0))


def test_nothing_is_lost_or_read_twice_while_members_come_and_go(harness: Harness) -> None:
    expected = [str(number) for number in range(120)]
    write(harness.broker, [new_record("many", value, value) for value in expected])
    consumers: list[Consumer] = []
    producers = {slot: harness.broker.producer(slot) for slot in "abc"}

    def work(turns: int) -> None:
        for _ in range(turns):
            for slot, consumer in zip("abc", consumers, strict=False):
                polled = consumer.poll(0.02, 3)
                try:
                    with producers[slot].unit() as unit:
                        unit.append([new_record("other", value, value) for value in values(polled.records)])
                        advance(unit, polled)
                        unit.commit()
                except Fenced:
                    producers[slot].close()
                    producers[slot] = harness.broker.producer(slot)
                    consumer.reload()

    for slot in "abc":
        consumers.append(harness.new_broker().consumer("group", ["many"], slot))
        work(8)
    consumers.pop().close()

    def all_processed() -> bool:
        work(1)
        return len(read_all(harness.broker, "other")) >= len(expected)

    until(all_processed)
    work(3)
    for consumer in consumers:
        consumer.close()
    for producer in producers.values():
        producer.close()

    until(lambda: sorted(values(read_all(harness.broker, "other"))) == sorted(expected))


def test_a_partition_that_is_kept_over_a_rebalance_is_not_read_again_and_keeps_its_pause(harness: Harness) -> None:
    for p in range(4):
        fill(harness.broker, "many", [f"{p}-0", f"{p}-1"], partition=p)
    with members(harness, "a") as (first,), closing(harness.broker.producer("a")) as producer:
        seen: list[str] = []
        while len(seen) < 8:
            polled = poll_some(first)
            seen += values(polled.records)
            with producer.unit() as unit:
                advance(unit, polled)
                unit.commit()
        until(lambda: is_balanced([first], 4))
        first.pause(list(first.assignment()))

        with members(harness, "b") as (second,):
            until(lambda: is_balanced([first, second], 2, 2))
            kept_tps = first.assignment()
            fill(harness.broker, "many", ["paused"], partition=next(iter(kept_tps)).partition)
            assert first.poll(0.3, 10).records == []
            first.resume(list(kept_tps))
            assert values(poll_some(first).records) == ["paused"]


def test_a_killed_member_is_replaced_when_its_lease_ends(harness: Harness, child: Child) -> None:
    process = child("member", "many", "b")
    wait_for_line(process, "owns 4")
    with members(harness, "a") as (first,):
        until(lambda: is_balanced([first], 2))

        process.kill()

        until(lambda: is_balanced([first], 4), harness.lease_s + 25)


@pytest.mark.parametrize("lease_s", [LONG_LEASE_S])
def test_a_killed_member_that_restarts_does_not_wait_for_its_lease(harness: Harness, child: Child) -> None:
    process = child("member", "many", "a")
    wait_for_line(process, "owns 4")
    process.kill()
    process.wait()

    with closing(harness.broker.consumer("group", ["many"], "a")) as again:
        wait_for_partitions(again, 4, harness.lease_s - 5)


def test_a_stopped_member_is_replaced_and_cannot_commit_its_unit(harness: Harness, child: Child) -> None:
    fill(harness.broker, "one", ["a"])
    process = child("worker", "one", "b")
    wait_for_line(process, "polled")  # it then stops itself before the commit
    with members(harness, "a", topic="one") as (first,):
        until(lambda: is_balanced([first], 1))
        first.reload()
        with closing(harness.broker.producer("a")) as producer, producer.unit() as unit:
            unit.append([new_record("other", "by the new owner")])
            advance(unit, poll_some(first))
            unit.commit()

        process.send_signal(signal.SIGCONT)

        wait_for_line(process, "Fenced")
    until(lambda: values(read_all(harness.broker, "other")) == ["by the new owner"])


def test_a_producer_killed_before_its_commit_leaves_nothing(harness: Harness, child: Child) -> None:
    process = child("hanging", "one")
    wait_for_line(process, "appended")
    process.kill()
    process.wait()

    with closing(harness.broker.producer("hanging")):  # aborts the unit that the killed one left open
        fill(harness.broker, "one", ["after"])

    until(lambda: values(read_all(harness.broker, "one")) == ["after"])


def test_a_producer_killed_at_any_moment_leaves_whole_units_only(harness: Harness, child: Child) -> None:
    for units in ("1", "4", "9"):
        process = child("appender", "many")
        wait_for_line(process, units)
        process.kill()
        process.wait()

    settle(harness.broker, "appender")
    records = sorted(values(read_all(harness.broker, "many")))
    assert len(records) >= (1 + 4 + 9) * 5
    for part in range(5):
        assert len([value for value in records if value.endswith(f"/{part}")]) * 5 == len(records)


def test_a_process_stopped_inside_a_unit_does_not_block_the_others_for_long(harness: Harness, child: Child) -> None:
    process = child("locking", "one")
    wait_for_line(process, "stopping")

    committed = threading.Event()

    def put_with_rows() -> None:
        with closing(harness.broker.producer("other", in_database=True)) as producer, producer.db_unit() as unit:
            unit.append([new_record("one", "mine")])
            unit.commit()
        committed.set()

    threading.Thread(target=put_with_rows, daemon=True).start()

    assert committed.wait(DEADLINE_S)
    process.send_signal(signal.SIGCONT)
    wait_for_line(process, "Aborted")
