"""Slots of replicas: no two live replicas have the same, and a slot that becomes free is used again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.database.connection import DbConnection
from shared.ops.tables import slots
from shared.ops.tables.slots import Holder
from tests.waiting import wait_until


class Replica:
    """A process of the cleaner with a database session of its own."""

    def __init__(self, url: str, host: str, folders: dict[str, str] | None = None, lease_s: float = 60) -> None:
        self._url = url
        self.connection: DbConnection = psycopg.connect(url, autocommit=True)
        self.holder = Holder("cleaner", host, uuid4(), folders or {})
        self.slot = slots.claim(self.connection, self.holder, lease_s)

    def renew(self) -> bool:
        return slots.renew(self.connection, self.holder, self.slot)

    def stop(self) -> None:
        slots.release(self.connection, self.holder, self.slot)
        self.connection.close()

    def die(self) -> None:
        """The kernel closes the connections of a process that was killed."""
        backend = self.connection.info.backend_pid
        self.connection.close()
        with psycopg.connect(self._url, autocommit=True) as connection:
            wait_until(
                lambda: not connection.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (backend,)).rowcount,
                "the end of the session",
            )


Start = Callable[..., Replica]


@pytest.fixture
def start(database_url: str) -> Iterator[Start]:
    replicas: list[Replica] = []

    def start(host: str, **options: object) -> Replica:
        replicas.append(Replica(database_url, host, **options))  # type: ignore[arg-type]
        return replicas[-1]

    yield start
    for replica in replicas:
        with suppress(psycopg.Error):
            replica.connection.close()


def expire(database: DbConnection, slot: str) -> None:
    database.execute("UPDATE ops.slots SET lease_until = now() - interval '1 s' WHERE slot = %s", (slot,))


def test_replicas_get_the_lowest_free_numbers(start: Start) -> None:
    assert [start(host).slot for host in ("a", "b", "b", "c")] == ["0", "1", "2", "3"]


def test_services_have_slots_of_their_own(start: Start, database: DbConnection) -> None:
    start("a")

    assert slots.claim(database, Holder("loader", "a", uuid4(), {})) == "0"


def test_a_stopped_replica_frees_its_slot(start: Start) -> None:
    first, _ = start("a"), start("b")

    first.stop()

    assert start("c").slot == "0"


def test_a_replica_that_restarts_on_its_host_has_its_slot_again_at_once(start: Start) -> None:
    _, second = start("a"), start("b")

    second.die()

    assert start("b").slot == "1"


def test_another_host_gets_the_slot_of_a_dead_replica_after_its_lease(start: Start, database: DbConnection) -> None:
    start("a").die()

    assert start("b").slot == "1"
    expire(database, "0")
    assert start("b").slot == "0"


def test_the_lease_counts_in_the_clock_of_the_database(start: Start) -> None:
    start("a", lease_s=0.2).die()

    def is_free() -> bool:
        other = start("b")
        other.stop()
        return other.slot == "0"

    wait_until(is_free)


def test_a_replica_that_was_suspended_keeps_its_slot(start: Start, database: DbConnection) -> None:
    suspended = start("a")
    expire(database, "0")

    assert start("b").slot == "1"
    assert suspended.renew()


def test_a_replica_notices_that_its_slot_was_taken(start: Start, database: DbConnection) -> None:
    first = start("a")

    slots.take(database, Holder("cleaner", "b", uuid4(), {}), "0")

    assert not first.renew()


def test_a_row_that_is_missing_is_restored(start: Start, database: DbConnection) -> None:
    first = start("a")
    database.execute("DELETE FROM ops.slots")

    assert first.renew()
    assert start("b").slot == "1"


def test_a_configured_slot_is_not_given_to_others(start: Start, database: DbConnection) -> None:
    slots.take(database, Holder("cleaner", "a", uuid4(), {}), "0")
    slots.take(database, Holder("cleaner", "a", uuid4(), {}), "blue")

    assert start("b").slot == "1"


def test_live_replicas_with_another_folder_are_named(start: Start, database: DbConnection) -> None:
    other, same = start("a", folders={"archive": "1", "export": "2"}), start("b", folders={"archive": "3"})
    mine = Holder("cleaner", "c", uuid4(), {"archive": "3"})

    assert slots.other_folders(database, mine) == [("a", "archive")]
    assert slots.other_folders(database, same.holder) == [("a", "archive")]
    other.stop()
    assert slots.other_folders(database, mine) == []


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["start", "stop", "die", "expire"]), st.integers(0, 5), st.sampled_from(["a", "b", "c"])),
    max_size=15,
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTIONS)
def test_no_two_live_replicas_have_the_same_slot(database_url: str, actions: list[tuple[str, int, str]]) -> None:
    live: list[Replica] = []
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute("DELETE FROM ops.slots")
        for action, number, host in actions:
            chosen = live[number % len(live)] if live else None
            if action == "start":
                live.append(Replica(database_url, host))
            elif chosen is not None and action == "expire":
                expire(database, chosen.slot)
            elif chosen is not None:
                live.remove(chosen)
                chosen.stop() if action == "stop" else chosen.die()

            taken = [replica.slot for replica in live]
            assert len(set(taken)) == len(taken)
            assert all(replica.renew() for replica in live)
        for replica in live:
            replica.connection.close()
