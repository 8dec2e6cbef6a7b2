"""`headrace status` with rows of live and of stopped services."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

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
    """Written before each test, because a row that is some seconds old counts as stopped."""
    with access.connect() as connection:
        connection.execute(REPLICAS.encode())


def test_status_lists_every_service_and_only_live_replicas(headrace: Headrace) -> None:
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
        "partitions": 0,
        "paused_partitions": 0,
    }
    assert rows["cleaner"] == {
        "service": "cleaner",
        "replica": None,
        "pid": None,
        "admin_url": None,
        "state": "stopped",
        "ready": False,
        "lag_records": None,
        "partitions": None,
        "paused_partitions": None,
    }


def test_status_shows_failed_windows_and_causes_of_dead_letters(headrace: Headrace) -> None:
    _, out, _ = headrace("status")

    assert "results 2026-01-31: no JSON" in out
    assert "cleaner: 1 x InvalidEvent: expected a slot, got 9 (for example cleaner.dlq/2/17)" in out


def test_status_shows_why_nothing_is_fetched(headrace: Headrace, access: Access) -> None:
    reason = "no window of 2027-01-01 to 2027-02-28 is due; the next is due at 2027-01-01 00:00+09:00"
    with access.connect() as connection:
        connection.execute(
            "UPDATE ops.replicas SET detail = jsonb_build_object('warning', %s::text) WHERE service = 'fetcher'",
            (reason,),
        )

    _, out, _ = headrace("status")

    assert f"nothing due    {reason}" in " ".join(out.splitlines())


SECOND_LETTER = """
INSERT INTO facts.dead_letters
SELECT service, gen_random_uuid(), topic, p, 18, key, error, message, attempts, failed_at FROM facts.dead_letters
"""
SETTLE = (
    "INSERT INTO ops.dead_letters_settled (service, p, off, outcome, operation_id, settled_by)"
    " SELECT service, p, off, %s, '1', 'me' FROM facts.dead_letters WHERE off = %s"
)


@pytest.fixture
def settle(access: Access) -> Iterator[Callable[[str, int], None]]:
    """Records the outcome of the cleaner's dead letter at this offset; there are letters at 17 and 18."""
    with access.connect() as connection:
        connection.execute(SECOND_LETTER.encode())

        def settle(outcome: str, offset: int) -> None:
            connection.execute(SETTLE.encode(), (outcome, offset))

        yield settle
        connection.execute(b"DELETE FROM ops.dead_letters_settled; DELETE FROM facts.dead_letters WHERE off = 18;")


@pytest.mark.parametrize("outcome", ["redriven", "discarded"])
def test_status_counts_only_open_dead_letters(
    headrace: Headrace, settle: Callable[[str, int], None], outcome: str
) -> None:
    assert "cleaner: 2 x InvalidEvent" in headrace("status")[1]

    settle(outcome, 17)

    out = headrace("status")[1]
    assert "cleaner: 1 x InvalidEvent: expected a slot, got 9 (for example cleaner.dlq/2/18)" in out


def test_status_says_that_no_dead_letter_is_open(
    headrace: Headrace, access: Access, settle: Callable[[str, int], None]
) -> None:
    for offset in (17, 18):
        settle("discarded", offset)
    with access.connect() as connection:
        connection.execute("DELETE FROM ops.replicas WHERE service = 'fetcher'")

    assert "no failed windows, no open dead letters" in headrace("status")[1]


PAUSE = """
DELETE FROM ops.orders; DELETE FROM ops.observed;
INSERT INTO ops.orders (service, topic, desired, ordered_by) VALUES ('loader', 'clean-events', 'paused', 'me');
"""
OBSERVED = (
    "INSERT INTO ops.observed (service, replica, topic, p, state, seq) VALUES ('loader', 'here-0', %s, %s, %s, 1)"
)


@pytest.fixture
def pause(access: Access) -> Iterator[Callable[..., None]]:
    """Pauses the loader; its replica reports these states of its partitions."""

    def pause(**partitions: str) -> None:
        with access.connect() as connection:
            connection.execute(PAUSE.encode())
            for number, (topic, state) in enumerate(partitions.items()):
                connection.execute(OBSERVED, (topic, number, state))

    yield pause
    with access.connect() as connection:
        connection.execute(b"DELETE FROM ops.orders; DELETE FROM ops.observed;")


def row_of(out: str, service: str) -> str:
    return next(line for line in out.splitlines() if line.startswith(service))


@pytest.mark.parametrize(
    ("partitions", "state"),
    [
        ({"a": "paused", "b": "paused"}, "  paused  "),
        ({"a": "paused", "b": "running", "c": "running"}, "paused: 1 of 3 partitions"),
        ({"a": "running"}, "paused: 0 of 1 partitions"),
        ({}, "  paused  "),
    ],
)
def test_a_paused_service_is_not_shown_as_running(
    headrace: Headrace, pause: Callable[..., None], partitions: dict[str, str], state: str
) -> None:
    pause(**partitions)

    _, out, _ = headrace("status")

    assert state in row_of(out, "loader")
    assert "paused         loader on clean-events, by me" in out
    assert "running" in row_of(out, "fetcher")


def test_in_json_the_state_is_the_services_own_and_paused_partitions_are_counted(
    headrace: Headrace, pause: Callable[..., None]
) -> None:
    pause(a="paused", b="running")

    rows = {row["service"]: row for row in json.loads(headrace("status", "--output", "json")[1])}

    assert [(rows[name]["state"], rows[name]["partitions"], rows[name]["paused_partitions"]) for name in rows] == [
        ("running", 0, 0),
        ("stopped", None, None),
        ("running", 2, 1),
        ("stopped", None, None),
        ("stopped", None, None),
    ]


def test_status_fits_100_columns(headrace: Headrace, pause: Callable[..., None]) -> None:
    pause(a="paused", b="running")

    table = headrace("status")[1].splitlines()[:7]

    assert max(map(len, table)) <= 100
    assert "http://127.0.0.1:1" in row_of("\n".join(table), "loader")


def test_status_shows_what_the_requests_to_a_source_wait_for(headrace: Headrace, access: Access) -> None:
    waits = '[{"host": "meadow.example", "reason": "retry-after", "until": "2026-01-31T09:02:00+00:00"}]'
    with access.connect() as connection:
        connection.execute(
            "UPDATE ops.replicas SET detail = jsonb_build_object('waits', %s::jsonb) WHERE service = 'fetcher'",
            (waits,),
        )

    _, out, _ = headrace("status")

    assert "source waits   meadow.example: retry-after until 2026-01-31T09:02:00+00:00" in " ".join(out.splitlines())
