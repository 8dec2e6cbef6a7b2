"""Summaries are composed when all that was under way is in the tables, from one state of them."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from contextlib import closing
from itertools import product
from typing import Any

import psycopg
import pytest

from services.notifier import postgres_ledger as ledger
from services.notifier.findings import daily_id, day_key
from services.notifier.notify import Notifier
from services.notifier.pacing import DeliveryPolicy
from services.notifier.postgres_ledger import NewSummary
from services.notifier.postgres_summaries import SummaryComposer
from services.notifier.rules import Rules
from shared.broker.contract import Broker
from shared.broker.postgres.broker import PostgresBroker
from shared.topics import CLEAN, RAW
from tests.contract.records import fill, poll_some
from tests.services.notifier.conftest import Compose
from tests.services.notifier.samples import DAY, SOURCE, FixedClock, Rows, loaded, received
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
Connection = psycopg.Connection[Any]


def note_the_day(database: Connection) -> None:
    summary = NewSummary(daily_id(SOURCE, DAY), "daily", day_key(SOURCE, DAY))
    ledger.record_summaries(database, [summary], ["console"])


def text(database: Connection) -> str | None:
    row = database.execute("SELECT text FROM notifier.ledger").fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


def catch_up(broker: Broker, group: str, topics: Sequence[str]) -> None:
    """The group reads one poll's records and says so."""
    with (
        closing(broker.consumer(group, topics, f"{group}-0", in_database=True)) as consumer,
        closing(broker.producer(f"{group}-0", in_database=True)) as producer,
    ):
        polled = poll_some(consumer)
        with producer.db_unit() as unit:
            unit.advance(polled.token, {tp: broker.end_offsets([tp])[tp] for tp in polled.token.partitions})
            unit.commit()


def test_a_summary_waits_for_what_is_on_its_way(
    database: Connection, rows: Rows, broker: PostgresBroker, compose: Compose
) -> None:
    session = rows.session()
    rows.event(session, 1)
    note_the_day(database)
    fill(broker, RAW, ["the result of event 2"])

    compose()
    assert text(database) is None  # not cleaned yet
    fill(broker, CLEAN, ["the same, clean"])
    catch_up(broker, "cleaner", [RAW])
    compose()
    assert text(database) is None  # not loaded yet
    rows.event(session, 2)
    catch_up(broker, "loader", [CLEAN])
    compose()

    assert "2 events: 2 settled" in str(text(database))


def test_what_comes_later_is_not_waited_for(
    database: Connection, rows: Rows, broker: PostgresBroker, compose: Compose
) -> None:
    rows.event(rows.session(), 1)
    note_the_day(database)
    fill(broker, RAW, ["of the day"])
    compose()
    catch_up(broker, "cleaner", [RAW])
    fill(broker, RAW, ["of the day after"])

    compose()

    assert "1 event: 1 settled" in str(text(database))


def test_patience_ends(database: Connection, rows: Rows, broker: PostgresBroker) -> None:
    rows.event(rows.session(), 1)
    note_the_day(database)
    fill(broker, RAW, ["of a partition that nobody reads any more"])
    summaries = SummaryComposer(lambda: database, lambda: broker, Rules(), DeliveryPolicy(), max_wait_s=1e-9)

    summaries.step(database, broker)

    assert "1 event: 1 settled" in str(text(database))


def test_a_day_that_turned_out_to_go_on_is_told_when_it_is_over(
    database: Connection, rows: Rows, compose: Compose
) -> None:
    notifier = Notifier(["console"], FixedClock(), Rules())
    session = rows.session()
    rows.event(session, 1)
    with database.transaction():
        notifier.handle([received(loaded(1))], database)
    last = rows.event(session, 2, "void")
    database.execute("UPDATE facts.events SET status = 'listed' WHERE id = %s", [last])

    compose()
    assert text(database) is None
    assert ledger.pending_summaries(database) == []
    database.execute("UPDATE facts.events SET status = 'void' WHERE id = %s", [last])
    with database.transaction():
        notifier.handle([received(loaded(2, status="void"))], database)
    compose()

    assert "2 events: 1 settled, 1 void" in str(text(database))


def test_a_session_that_is_called_off_no_longer_is_not_told(database: Connection, rows: Rows, compose: Compose) -> None:
    notifier = Notifier(["console"], FixedClock(), Rules())
    session = rows.session()
    called = rows.event(session, 1, "cancelled")
    rows.event(session, 2, "listed")
    with database.transaction():
        notifier.handle([received(loaded(1, status="cancelled"))], database)
    database.execute("UPDATE facts.events SET status = 'settled' WHERE id = %s", [called])

    compose()

    assert text(database) is None
    assert ledger.claim(database, "console") is None


def test_a_line_up_that_comes_back_later_changes_nothing_in_the_days_summary(
    database: Connection, rows: Rows, compose: Compose
) -> None:
    rows.event(rows.session(), 1, "cancelled")
    tomorrow = DAY.replace(day=DAY.day + 1)
    rows.event(rows.session(tomorrow), 1, "listed", day=tomorrow)
    database.execute("UPDATE facts.events SET card_key = 'the same'")
    assert database.execute("SELECT status FROM analytics.events ORDER BY 1 DESC").fetchone() == ("postponed",)
    note_the_day(database)

    compose()

    assert "1 event: 1 cancelled" in str(text(database))


def test_all_queries_see_the_same_rows(database: Connection, database_url: str, rows: Rows, compose: Compose) -> None:
    """A loader commits one event after the other meanwhile, each with the highest payout so far: told is as many
    events as the highest payout says."""
    rows.event(rows.session(), 1, trifecta=1)
    stop, loaded_one = threading.Event(), threading.Event()

    def load() -> None:
        with psycopg.connect(database_url) as connection:
            other = Rows(connection)
            sessions = {venue: other.session(venue=venue) for venue in range(8, 100)}
            for count, (venue, number) in enumerate(product(sessions, range(1, 13)), start=2):
                other.event(sessions[venue], number, venue=venue, trifecta=count)
                connection.commit()
                loaded_one.set()
                if stop.is_set():
                    return

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(10):
            loaded_one.clear()
            assert loaded_one.wait(DEADLINE_S)
            database.execute("DELETE FROM notifier.ledger")
            note_the_day(database)
            compose()
            told = str(text(database)).replace(",", "")
            events = re.findall(r"(\d+) events:", told)
            assert events == re.findall(r"1-2-3 (\d+)", told)[:1]
    finally:
        stop.set()
        thread.join(DEADLINE_S)


def test_they_are_composed_beside_the_loop_until_it_stops(
    database: Connection, database_url: str, rows: Rows, broker: PostgresBroker
) -> None:
    rows.event(rows.session(), 1)
    note_the_day(database)
    stop = threading.Event()
    summaries = SummaryComposer(
        lambda: psycopg.connect(database_url, autocommit=True),
        lambda: PostgresBroker(database_url),
        Rules(),
        DeliveryPolicy(poll_s=0.01),
        max_wait_s=60,
    )
    thread = threading.Thread(target=summaries.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: text(database))
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    assert not thread.is_alive()
