"""What looking on finds out from the tables."""

from __future__ import annotations

import psycopg

from headrace.progress.replicas import held_back

INSERT = (
    "INSERT INTO ops.replicas"
    " (service, replica, pid, admin_url, state, ready, lag_records, detail, started_at, seen_at)"
    " VALUES (%s, %s, 1, 'http://127.0.0.1:1', %s, false, 0, %s, now(), now() - make_interval(secs => %s))"
)


def test_a_service_that_holds_a_partition_back_is_listed_with_its_cause(
    database: psycopg.Connection[tuple[object, ...]],
) -> None:
    why = '{"not_ready": "raw-events/3 is held back: ValueError: seven boats"}'
    database.execute(INSERT, ("cleaner", "a", "tripped", why, 0))
    database.execute(INSERT, ("cleaner", "long gone", "tripped", why, 3600))
    database.execute(INSERT, ("loader", "a", "backing off", why, 0))

    assert held_back(database) == ["cleaner: raw-events/3 is held back: ValueError: seven boats"]
