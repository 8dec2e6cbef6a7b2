"""One notifier leads at a time, also when the leader's process is stopped for a while."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from services.notifier.bot.leadership import Leadership
from shared.database.connection import limited_connection
from tests.waiting import terminate_backends, wait_until


@pytest.fixture
def other(database_url: str) -> Iterator[Leadership]:
    leadership = Leadership(limited_connection(database_url, "other", 60))
    yield leadership
    leadership.release()


def test_a_leader_that_does_not_check_is_replaced_and_notices_it(database_url: str, other: Leadership) -> None:
    stopped = Leadership(limited_connection(database_url, "stopped", 60), idle_s=0.5)
    assert stopped.try_take()
    wait_until(other.try_take)
    assert not stopped.keep()
    assert other.keep()
    stopped.release()


def test_a_leader_whose_session_ends_takes_the_lock_again_if_it_is_free(
    database_url: str, database: psycopg.Connection[tuple[object, ...]], other: Leadership
) -> None:
    leader = Leadership(limited_connection(database_url, "leader", 60))
    assert leader.try_take()
    terminate_backends(database, "application_name = 'headrace leader'")
    assert leader.keep()
    assert not other.try_take()
    leader.release()
