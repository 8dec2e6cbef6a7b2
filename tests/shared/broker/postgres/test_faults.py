"""The embedded broker without its database, and failures of its background threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from shared.broker.contract import TopicPartition
from shared.broker.postgres import retention
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import Timeouts
from shared.errors import BrokerError, HeadraceError, TransientError
from shared.topics import TopicSpec
from tests.contract.database import empty_log, read_only
from tests.contract.records import fill, until, values, wait_for_partitions
from tests.waiting import terminate_backends

LEASE_S = 60.0
TIMEOUTS = Timeouts(lease_s=LEASE_S, renew_s=0.1, stopped_unit_s=1)
Database = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def broker(url: str) -> Iterator[PostgresBroker]:
    broker = PostgresBroker(url, TIMEOUTS)
    broker.ensure_topics([TopicSpec("one", 1), TopicSpec("two", 2)])
    yield broker
    broker.close()


@pytest.fixture
def admin(url: str) -> Iterator[Database]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_an_unreachable_database_is_a_transient_error_in_every_part(tmp_path: Path) -> None:
    broker = PostgresBroker(f"postgresql://nobody@/nothing?host={tmp_path}", TIMEOUTS)

    for use in (
        broker.health,
        lambda: broker.producer("slot"),
        lambda: broker.consumer("group", ["one"], "slot"),
        lambda: broker.partitions("one"),
        lambda: broker.reader([TopicPartition("one", 0)]).poll(0, 1),
    ):
        with pytest.raises(TransientError, match="unavailable"):
            use()


def test_a_crash_of_the_lease_thread_is_raised_by_the_next_poll(broker: PostgresBroker, admin: Database) -> None:
    with closing(wait_for_partitions(broker.consumer("group", ["one"], "a"), 1)) as consumer:
        admin.execute("ALTER TABLE broker.leases RENAME TO leases_gone")
        try:
            with pytest.raises(HeadraceError, match=r"no longer renewed: .*leases"):
                until(lambda: consumer.poll(0.05, 1).records != [])
        finally:
            admin.execute("ALTER TABLE broker.leases_gone RENAME TO leases")


def test_a_lease_thread_survives_a_broken_connection(broker: PostgresBroker, admin: Database) -> None:
    with closing(wait_for_partitions(broker.consumer("group", ["one"], "a"), 1)) as consumer:
        assert terminate_backends(admin, "datname = current_database() AND application_name = 'headrace group leases'")
        (cut_at,) = admin.execute("SELECT now()").fetchone() or (None,)

        renewed = "SELECT FROM broker.leases WHERE lease_until > %s + make_interval(secs => %s)"
        until(lambda: admin.execute(renewed, (cut_at, LEASE_S + 0.5)).rowcount)
        assert consumer.assignment()


def test_closing_a_consumer_whose_database_is_gone_is_quick_and_raises_nothing(postgres: EmbeddedPostgres) -> None:
    with empty_log(postgres) as url:
        broker = PostgresBroker(url, TIMEOUTS)
        broker.ensure_topics([TopicSpec("one", 1)])
        consumer = wait_for_partitions(broker.consumer("group", ["one"], "a"), 1)
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE empty_log WITH (FORCE)")

    started_at = time.monotonic()
    consumer.close()
    broker.close()

    assert time.monotonic() - started_at < LEASE_S / 2


def test_a_damaged_batch_is_never_skipped(broker: PostgresBroker, admin: Database) -> None:
    for value in ("a", "b", "c"):
        fill(broker, "one", [value])
    admin.execute("UPDATE broker.log SET payload = substr(payload, 1, 20) WHERE base_off = 1")
    with closing(broker.reader([TopicPartition("one", 0)])) as reader:
        assert values(reader.poll(1, 10)) == ["a"]
        for _ in range(2):
            with pytest.raises(BrokerError, match="one/0/1"):
                reader.poll(1, 10)
        reader.seek(TopicPartition("one", 0), 2)
        assert values(reader.poll(1, 10)) == ["c"]


def test_a_new_connection_of_a_producer_limits_stopped_units_too(broker: PostgresBroker, admin: Database) -> None:
    with closing(broker.producer("slot")) as producer:
        assert terminate_backends(admin, "datname = current_database() AND application_name LIKE %s", ("%producer%",))
        with producer.db_unit() as unit:
            limit = unit.connection.execute("SHOW idle_in_transaction_session_timeout").fetchone()

    assert limit == ("1s",)


def test_retention_leaves_no_gap_if_a_clock_was_skewed(broker: PostgresBroker, admin: Database) -> None:
    """The middle batch looks old, but it stays as long as the batch before it stays."""
    for value in ("a", "b", "c"):
        fill(broker, "one", [value])
    admin.execute("UPDATE broker.log SET last_ms = 0 WHERE base_off = 1")

    assert retention.enforce(admin) == 0
    admin.execute("UPDATE broker.log SET last_ms = 0 WHERE base_off = 0")
    assert retention.enforce(admin, max_batches=1) == 1
    assert retention.enforce(admin) == 1
    assert broker.begin_offsets([TopicPartition("one", 0)]) == {TopicPartition("one", 0): 2}


def test_retention_does_not_wait_for_a_partition_locked_by_an_append(
    broker: PostgresBroker, admin: Database, url: str
) -> None:
    for value in ("a", "b"):
        fill(broker, "one", [value])
    admin.execute("UPDATE broker.log SET last_ms = 0")

    with psycopg.connect(url) as appender:
        appender.execute("SELECT 1 FROM broker.partitions FOR UPDATE")
        with pytest.raises(psycopg.OperationalError):
            retention.enforce(admin)

    assert retention.enforce(admin) == 1


def test_the_leases_of_a_dead_member_end_although_the_clock_of_the_database_was_set_back(
    url: str, broker: PostgresBroker, admin: Database
) -> None:
    """They seem to last for a day. The live member renews its own, whatever it was."""
    later = "now() + interval '1 day'"
    admin.execute(
        "INSERT INTO broker.leases (grp, topic_id, p, owner, incarnation, lease_until)"
        f" SELECT 'group', id, 0, 'dead', gen_random_uuid(), {later} FROM broker.topics WHERE name = 'one'"
    )
    admin.execute(f"INSERT INTO broker.members VALUES ('group', 'dead', gen_random_uuid(), {later})")
    group = PostgresBroker(url, Timeouts(lease_s=2.0, renew_s=0.1))

    with closing(group), closing(wait_for_partitions(group.consumer("group", ["one"], "alive"), 1)) as consumer:
        admin.execute(f"UPDATE broker.leases SET lease_until = {later}")
        admin.execute(f"UPDATE broker.members SET alive_until = {later} WHERE member = 'alive'")
        renewed = "SELECT FROM broker.leases WHERE owner = 'alive' AND lease_until < now() + interval '1 hour'"
        until(lambda: consumer.poll(0.02, 1).records == [] and admin.execute(renewed).rowcount == 1)
        assert consumer.assignment()


def test_a_read_only_database_does_not_end_the_thread_of_the_leases(broker: PostgresBroker, admin: Database) -> None:
    def session() -> list[tuple[Any, ...]]:
        name = "headrace group leases"
        return admin.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", (name,)).fetchall()

    with closing(wait_for_partitions(broker.consumer("group", ["one"], "a"), 1)) as consumer:
        first = session()
        with read_only(admin):
            until(lambda: session() not in ([], first))  # it has met the error and connected again
        (ended_at,) = admin.execute("SELECT clock_timestamp()").fetchone() or (None,)

        renewed = "SELECT FROM broker.leases WHERE lease_until > %s + make_interval(secs => %s)"
        until(lambda: admin.execute(renewed, (ended_at, LEASE_S)).rowcount)
        assert consumer.poll(0, 1).records == []
        assert consumer.assignment()
