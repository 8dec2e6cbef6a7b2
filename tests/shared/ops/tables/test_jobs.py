"""Claims and leases as rows, and replays that are started concurrently."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from shared.ops.operations import NotPossible, Operation
from shared.ops.replays import OffsetSpan, ReplayPlan, request_of
from shared.ops.tables import jobs as jobs_table
from shared.ops.tables import operations as operations_table
from shared.ops.tables import replays as replays_table
from shared.topics import RAW

Database = psycopg.Connection[Any]


@pytest.fixture
def database_url(url: str) -> str:
    """An emptied database: to create a new one takes a second."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE ops.operations, ops.plans")
    return url


def create_job(database: Database, kind: str = "replay", service: str = "cleaner") -> Operation:
    return operations_table.create(database, service, kind, {}, "test", "")


def claim(database: Database, worker: str = "one", lease_s: float = 10.0) -> str | None:
    job = jobs_table.claim(database, "cleaner", worker, ["replay"], lease_s)
    return None if job is None else job.id


def test_the_oldest_job_of_the_service_and_kind_is_claimed_first(database: Database) -> None:
    create_job(database, service="loader")
    create_job(database, kind="redrive")
    first, second = create_job(database), create_job(database)

    assert [claim(database), claim(database), claim(database)] == [first.id, second.id, None]


def test_an_expired_lease_can_be_claimed_and_its_former_holder_can_write_nothing(database: Database) -> None:
    operation = create_job(database)
    claim(database, "one", 0.0)

    assert claim(database, "two") == operation.id
    assert not jobs_table.renew(database, operation.id, "one")
    assert jobs_table.report_progress(database, operation.id, "one", {"read": 1}, 0.5) is None
    assert not jobs_table.finish(database, operation.id, "one", "failed")
    assert not jobs_table.release(database, operation.id, "one")
    assert jobs_table.renew(database, operation.id, "two")


def test_an_expired_lease_is_kept_if_its_holder_renews_it_first(database: Database) -> None:
    operation = create_job(database)
    claim(database, "one", 0.0)

    assert jobs_table.renew(database, operation.id, "one")
    assert claim(database, "two") is None


def test_a_lease_from_before_the_clock_was_set_back_can_be_claimed(database: Database) -> None:
    create_job(database)
    assert claim(database, "one") is not None

    database.execute("UPDATE ops.operations SET lease_until = lease_until + interval '5 s'")
    assert claim(database, "two") is None
    database.execute("UPDATE ops.operations SET lease_until = lease_until + interval '1 hour'")
    assert claim(database, "two") is not None


def test_a_lease_given_up_by_a_stopped_worker_can_be_claimed_at_once(database: Database) -> None:
    operation = create_job(database)
    claim(database, "one", 3600.0)

    jobs_table.expire_lease(database, operation.id, "one")

    assert claim(database, "two") == operation.id


def test_only_one_of_several_replays_of_the_same_records_is_started(database_url: str, database: Database) -> None:
    plan = ReplayPlan(request_of({"topic": RAW}), {0: OffsetSpan(0, 9)}, {0: 9})

    def start(_number: int) -> bool:
        with psycopg.connect(database_url) as connection:
            try:
                replays_table.start(connection, "cleaner", plan, "test", "")
            except NotPossible:
                return False
            return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(start, range(4))) == 1
    assert len(operations_table.list_operations(database, "cleaner")) == 1
