"""The watch on a real database: each incident is sent once, whatever fails and whichever notifier evaluates."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.notifier.alerts import postgres_incidents as storage
from services.notifier.alerts.alert_rules import AlertRule
from services.notifier.alerts.incidents import record_id, resolution_id
from services.notifier.alerts.watch import AlertWatch
from shared.ops.operations import NotPossible
from tests.services.notifier.alerts.pipeline_rows import WINDOWS, Database, PipelineRows
from tests.services.notifier.alerts.readings import rule
from tests.services.notifier.books import default_book
from tests.waiting import DEADLINE_S, terminate_backends, wait_until

CONSOLE, BOT = "console", "discord-bot/channel/11111111111111111"
ADDRESSES = (CONSOLE, BOT)
DOWN = rule("stage-down", for_s=0, addresses=ADDRESSES)
HELD = rule("partition-held", for_s=0, addresses=ADDRESSES)
SERVICES = ("loader", "predictor")
DATABASE = "datname = current_database() AND application_name = 'headrace notifier alerts'"


@pytest.fixture
def rows(database: Database) -> PipelineRows:
    pipeline_rows = PipelineRows(database)
    pipeline_rows.start()
    return pipeline_rows


def watch_of(url: str, *rules: AlertRule, **options: Any) -> AlertWatch:
    """Opens and ends at once, unless `options` say otherwise: test_evaluator.py has the durations."""
    return AlertWatch(url, lambda: rules or (DOWN, HELD), default_book, {"discord-bot"}, **{"clear_s": 0, **options})


def messages(database: Database) -> list[tuple[Any, ...]]:
    return database.execute(
        "SELECT channel, split_part(text, E'\\n', 1), state, version FROM notifier.ledger ORDER BY id"
    ).fetchall()


def incidents(database: Database) -> list[str]:
    return [each.state for each in reversed(storage.list_incidents(database))]


def send_all(database: Database) -> None:
    """As the sender marks the rows."""
    database.execute("UPDATE notifier.ledger SET state = 'sent', shown_version = version WHERE state = 'pending'")


@contextmanager
def running(watch: AlertWatch) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=watch.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_an_incident_is_sent_to_all_addresses_of_its_rule(
    database: Database, database_url: str, rows: PipelineRows
) -> None:
    rows.stop("loader")

    watch_of(database_url).step(database)

    assert messages(database) == [(address, "**Stage down** · loader", "pending", 1) for address in ADDRESSES]
    content = database.execute(
        "SELECT DISTINCT content -> 'colour', content -> 'actions' FROM notifier.ledger"
    ).fetchall()
    (incident,) = storage.list_incidents(database)
    assert content == [("critical", [f"hr:ack:{incident.id}"])]


def test_a_message_that_was_sent_is_rewritten_and_its_end_is_a_second_message_where_it_cannot_be_edited(
    database: Database, database_url: str, rows: PipelineRows
) -> None:
    watch = watch_of(database_url)
    rows.stop("loader")
    watch.step(database)
    send_all(database)

    rows.start("loader")
    watch.step(database)

    title = "**Resolved: Stage down** · loader"
    assert messages(database) == [(CONSOLE, title, "sent", 2), (BOT, title, "sent", 2), (CONSOLE, title, "pending", 1)]


def test_a_message_that_was_not_sent_yet_tells_the_end_itself(
    database: Database, database_url: str, rows: PipelineRows
) -> None:
    watch = watch_of(database_url)
    rows.stop("loader")
    watch.step(database)

    rows.start("loader")
    watch.step(database)

    assert messages(database) == [(each, "**Resolved: Stage down** · loader", "pending", 2) for each in ADDRESSES]


def test_an_acknowledgement_rewrites_the_messages_and_sends_none(
    database: Database, database_url: str, rows: PipelineRows
) -> None:
    rows.stop("loader")
    watch_of(database_url).step(database)
    send_all(database)
    (incident,) = storage.list_incidents(database)

    for by in ("token:a", "token:b"):
        with database.transaction():
            storage.acknowledge_incident(database, incident.id, by, default_book())

    assert messages(database) == [(each, "**Acknowledged: Stage down** · loader", "sent", 2) for each in ADDRESSES]
    (acknowledged,) = storage.list_incidents(database)
    assert (acknowledged.state, acknowledged.acknowledged_by) == ("acknowledged", "token:a")


def test_an_acknowledged_incident_stays_open_and_ends_with_its_condition(
    database: Database, database_url: str, rows: PipelineRows
) -> None:
    watch = watch_of(database_url)
    rows.stop("loader")
    watch.step(database)
    with database.transaction():
        storage.acknowledge_incident(database, storage.list_incidents(database)[0].id, "token:a", default_book())

    watch.step(database)
    during = incidents(database)
    rows.start("loader")
    watch.step(database)

    assert (during, incidents(database)) == (["acknowledged"], ["resolved"])
    assert storage.list_incidents(database)[0].acknowledged_by == "token:a"


def test_an_open_incident_keeps_the_newest_values(database: Database, database_url: str, rows: PipelineRows) -> None:
    watch = watch_of(database_url)
    rows.start("cleaner")
    rows.partition("cleaner", "raw-events", 1, "tripped", "InvalidEvent")
    watch.step(database)
    (before,) = storage.list_incidents(database)

    rows.partition("cleaner", "raw-events", 4, "tripped", "InvalidEvent")
    watch.step(database)

    (after,) = storage.list_incidents(database)
    assert after.detail["partitions"] == [1, 4]
    assert after.last_seen_at > before.last_seen_at
    assert {version for *_, version in messages(database)} == {1}


def test_while_one_evaluation_is_at_work_another_one_waits_for_its_turn(
    database: Database, database_url: str, rows: PipelineRows
) -> None:
    rows.stop("loader")
    with psycopg.connect(database_url) as other:
        storage.try_lock(other)
        assert not watch_of(database_url).step(database)
    assert incidents(database) == []

    assert watch_of(database_url).step(database)

    assert incidents(database) == ["open"]


def test_the_watch_works_with_the_rights_of_the_notifier_and_survives_a_lost_connection(
    database: Database, database_url: str, rows: PipelineRows
) -> None:
    as_notifier = f"{database_url}{'&' if '?' in database_url else '?'}options=-c%20role%3Dheadrace_notifier"
    rows.stop("loader")

    with running(watch_of(as_notifier, interval_s=0.01)):
        wait_until(lambda: incidents(database) == ["open"])
        wait_until(lambda: terminate_backends(database, DATABASE))
        rows.start("loader")
        wait_until(lambda: incidents(database) == ["resolved"])

    assert len(messages(database)) == 2


def test_two_watches_at_once_tell_each_incident_once(database: Database, database_url: str, rows: PipelineRows) -> None:
    with running(watch_of(database_url, interval_s=0.001)), running(watch_of(database_url, interval_s=0.001)):
        for _ in range(10):
            opened = len(incidents(database))
            rows.stop("loader")
            wait_until(lambda count=opened: len(incidents(database)) > count)  # type: ignore[misc]
            send_all(database)
            rows.start("loader")
            wait_until(lambda: set(incidents(database)) == {"resolved"})

    sent = Counter(database.execute("SELECT record_id, channel FROM notifier.ledger").fetchall())
    assert (len(incidents(database)), set(sent.values())) == (10, {1})
    assert_sent_once(database)


class DyingConnection(psycopg.Connection[Any]):
    """Breaks at the statement number `statements_left`, as the connection of a process that is killed."""

    statements_left: int

    def cursor(self, *args: Any, **options: Any) -> Any:
        if self.statements_left == 0:
            self.close()
            raise psycopg.OperationalError("killed")
        self.statements_left -= 1
        return super().cursor(*args, **options)


class Pipeline:
    """Two notifiers on a database, and what can happen to them."""

    def __init__(self, database: Database, url: str) -> None:
        self.database = database
        self._url = url
        self._rows = PipelineRows(database)
        self._rows.start()
        self._watches = [watch_of(url), watch_of(url)]

    def stop(self, number: int) -> None:
        self._rows.stop(SERVICES[number % len(SERVICES)])

    def start(self, number: int) -> None:
        self._rows.start(SERVICES[number % len(SERVICES)])

    def evaluate(self, number: int) -> None:
        """A process that was just killed may still have the lock for a moment."""
        wait_until(lambda: self._watches[number % 2].step(self.database))

    def restart(self, number: int) -> None:
        self._watches[number % 2] = watch_of(self._url)

    def kill(self, number: int) -> None:
        """The process dies at some statement of an evaluation; another one takes its place."""
        with DyingConnection.connect(self._url, autocommit=True) as connection:
            connection.statements_left = number
            with suppress(psycopg.OperationalError):
                self._watches[number % 2].step(connection)
        self.restart(number)

    def acknowledge(self, number: int) -> None:
        stored = storage.list_incidents(self.database)
        if stored:
            with suppress(NotPossible), self.database.transaction():
                storage.acknowledge_incident(self.database, stored[number % len(stored)].id, "token:a", default_book())

    def send(self, number: int) -> None:
        self.database.execute(
            "UPDATE notifier.ledger SET state = 'sent', shown_version = version WHERE state = 'pending'"
            " AND channel = %s",
            (ADDRESSES[number % 2],),
        )


EVENTS: tuple[Callable[[Pipeline, int], None], ...] = (
    Pipeline.stop, Pipeline.start, Pipeline.evaluate, Pipeline.evaluate, Pipeline.evaluate, Pipeline.restart,
    Pipeline.kill, Pipeline.kill, Pipeline.acknowledge, Pipeline.send,
)  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 30)), min_size=5, max_size=40))
def test_each_incident_is_sent_once_to_each_address_whatever_happens(
    database: Database, database_url: str, events: list[tuple[Callable[[Pipeline, int], None], int]]
) -> None:
    database.execute("TRUNCATE notifier.incidents, notifier.ledger, ops.replicas")
    pipeline = Pipeline(database, database_url)

    for event, number in events:
        event(pipeline, number)
        assert_sent_once(database)


def assert_sent_once(database: Database) -> None:
    """One row of each incident and address; one more for the end, where it was shown and cannot be edited."""
    rows = Counter(database.execute("SELECT record_id, channel FROM notifier.ledger").fetchall())
    stored = storage.list_incidents(database, limit=1_000)
    for incident in stored:
        for address in ADDRESSES:
            assert rows.pop((record_id(incident.id), address)) == 1
        ended = rows.pop((resolution_id(incident.id), CONSOLE), 0)
        assert ended <= (incident.state == "resolved")
    assert not rows
    open_keys = [each.key for each in stored if each.state != "resolved"]
    assert len(open_keys) == len(set(open_keys))


def test_the_incident_of_a_changed_document_ends_by_its_acknowledgement_and_a_later_change_opens_another_one(
    database: Database, database_url: str, rows: PipelineRows
) -> None:
    watch = watch_of(database_url, rule("window-changed", addresses=ADDRESSES))

    def report(at: str) -> list[str]:
        change = {"window": "river/results/2031-05-04", "at": at, "events": 1, "lines": ["an event changed"]}
        rows.replica("fetcher", detail={"windows": WINDOWS, "failed": [], "changes": [change]})
        watch.step(database)
        return incidents(database)

    states = [report("2031-05-05T15:10:00+00:00"), report("2031-05-05T15:10:00+00:00")]
    (incident,) = storage.list_incidents(database)
    with database.transaction():
        storage.acknowledge_incident(database, incident.id, "a person", default_book())
    states += [report("2031-05-05T15:10:00+00:00"), report("2031-05-05T15:10:00+00:00")]
    states += [report("2031-05-06T15:10:00+00:00")]

    assert states == [["open"], ["open"], ["resolved"], ["resolved"], ["resolved", "open"]]
    texts = database.execute("SELECT text FROM notifier.ledger WHERE record_id = %s", (record_id(incident.id),))
    assert all("an event changed" in text for (text,) in texts.fetchall())
