"""`headrace status` over rows of services that live and that do not."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from headrace.database.access import Access

Headrace = Callable[..., tuple[int, str, str]]
REPLICAS = """
DELETE FROM ops.replicas;
INSERT INTO ops.replicas VALUES
    ('loader', 'here-0', 1, 'http://127.0.0.1:1', 'running', true, 5, '{}', now(), now()),
    ('cleaner', 'here-0', 1, 'http://127.0.0.1:2', 'running', true, 0, '{}', now(), now() - interval '1 minute'),
    ('fetcher', 'here-0', 1, 'http://127.0.0.1:3', 'running', true, null,
     '{"windows": {"due": 0, "done": 1, "failed": 1}, "exhausted": true,
       "failed": [{"feed": "results", "date": "2026-01-31", "cause": "no JSON"}]}', now(), now());
"""


@pytest.fixture(autouse=True)
def replicas(access: Access) -> None:
    """Written anew for each test: one that is older than some seconds counts as stopped."""
    with access.connect() as connection:
        connection.execute(REPLICAS.encode())


def test_status_lists_every_service_and_only_what_lives(headrace: Headrace) -> None:
    code, out, _ = headrace("status", "--output", "json")

    rows = {row["service"]: row for row in json.loads(out)}
    assert code == 0
    assert list(rows) == ["fetcher", "cleaner", "loader", "predictor", "notifier"]
    assert rows["loader"] == {
        "service": "loader",
        "replica": "here-0",
        "pid": 1,
        "admin_url": "http://127.0.0.1:1",
        "state": "running",
        "ready": True,
        "lag_records": 5,
    }
    assert rows["cleaner"] == {
        "service": "cleaner",
        "replica": None,
        "pid": None,
        "admin_url": None,
        "state": "stopped",
        "ready": False,
        "lag_records": None,
    }


def test_status_shows_failed_windows_and_causes_of_dead_letters(headrace: Headrace) -> None:
    _, out, _ = headrace("status")

    assert "results 2026-01-31: no JSON" in out
    assert "cleaner: 1 x InvalidEvent: expected a slot, got 9 (for example raw-events/2/17)" in out
