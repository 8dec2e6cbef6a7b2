"""A summary is composed from one snapshot of the tables, once all earlier records are loaded."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from contextlib import closing
from itertools import product
from typing import Any

import psycopg
import pytest

from services.notifier.findings.finding import daily_id, day_key
from services.notifier.notify import Notifier
from services.notifier.pacing import DeliveryPolicy
from services.notifier.rules.rule_book import RuleBook
from services.notifier.storage import postgres_ledger as ledger
from services.notifier.storage.postgres_claims import claim
from services.notifier.storage.postgres_ledger import NewSummary
from services.notifier.summaries.postgres_summaries import SummaryComposer
from shared.broker.contract import Broker
from shared.broker.postgres.broker import PostgresBroker
from shared.database.connection import limited_connection
from shared.topics import CLEAN, RAW
from tests.contract.records import fill, poll_some
from tests.services.notifier.books import book_of, default_book
from tests.services.notifier.conftest import Compose
from tests.services.notifier.samples import DAY, SOURCE, FixedClock, Rows, decoded_record, loaded_event
from tests.services.notifier.sending import open_connection
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
Connection = psycopg.Connection[Any]


def record_daily_summary(database: Connection) -> None:
    summary = NewSummary(daily_id(SOURCE, DAY), "daily", day_key(SOURCE, DAY))
    ledger.record_summaries(database, [summary], ["console"])


def text(database: Connection) -> str | None:
    row = database.execute("SELECT text FROM notifier.ledger").fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


def catch_up(broker: Broker, group: str, topics: Sequence[str]) -> None:
    """The group polls once and commits the position after the polled records."""
    with (
        closing(broker.consumer(group, topics, f"{group}-0", in_database=True)) as consumer,
        closing(broker.producer(f"{group}-0", in_database=True)) as producer,
    ):
        polled = poll_some(consumer)
        with producer.db_unit() as unit:
            unit.advance(polled.token, {tp: broker.end_offsets([tp])[tp] for tp in polled.token.partitions})
            unit.commit()


def test_a_summary_waits_for_records_that_are_not_loaded_yet(
    database: Connection, rows: Rows, broker: PostgresBroker, compose: Compose
) -> None:
    session = rows.session()
    rows.event(session, 1)
    record_daily_summary(database)
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


def test_a_summary_does_not_wait_for_later_records(
    database: Connection, rows: Rows, broker: PostgresBroker, compose: Compose
) -> None:
    rows.event(rows.session(), 1)
    record_daily_summary(database)
    fill(broker, RAW, ["a record of the day"])
    compose()
    catch_up(broker, "cleaner", [RAW])
    fill(broker, RAW, ["a record of the next day"])

    compose()

    assert "1 event: 1 settled" in str(text(database))


def test_a_summary_waits_at_most_the_maximum_time(database: Connection, rows: Rows, broker: PostgresBroker) -> None:
    rows.event(rows.session(), 1)
    record_daily_summary(database)
    fill(broker, RAW, ["a record of a partition without a consumer"])
    composer = SummaryComposer(open_connection, lambda: broker, default_book, DeliveryPolicy(), max_wait_s=1e-9)

    composer.step(database, broker)

    assert "1 event: 1 settled" in str(text(database))


def test_a_day_that_goes_on_after_all_is_summarized_when_it_is_over(
    database: Connection, rows: Rows, compose: Compose
) -> None:
    notifier = Notifier(["console"], FixedClock(), default_book)
    session = rows.session()
    rows.event(session, 1)
    with database.transaction():
        notifier.handle([decoded_record(loaded_event(1))], database)
    last = rows.event(session, 2, "void")
    database.execute("UPDATE facts.events SET status = 'listed' WHERE id = %s", [last])

    compose()
    assert text(database) is None
    assert ledger.pending_summaries(database) == []
    database.execute("UPDATE facts.events SET status = 'void' WHERE id = %s", [last])
    with database.transaction():
        notifier.handle([decoded_record(loaded_event(2, status="void"))], database)
    compose()

    assert "2 events: 1 settled, 1 void" in str(text(database))


def test_a_session_that_is_no_longer_cancelled_is_not_notified(
    database: Connection, rows: Rows, compose: Compose
) -> None:
    notifier = Notifier(["console"], FixedClock(), default_book)
    session = rows.session()
    cancelled = rows.event(session, 1, "cancelled")
    rows.event(session, 2, "listed")
    with database.transaction():
        notifier.handle([decoded_record(loaded_event(1, status="cancelled"))], database)
    database.execute("UPDATE facts.events SET status = 'settled' WHERE id = %s", [cancelled])

    compose()

    assert text(database) is None
    assert not claim(database, "console")


def test_a_card_that_is_listed_again_later_does_not_change_the_days_summary(
    database: Connection, rows: Rows, compose: Compose
) -> None:
    rows.event(rows.session(), 1, "cancelled")
    tomorrow = DAY.replace(day=DAY.day + 1)
    rows.event(rows.session(tomorrow), 1, "listed", day=tomorrow)
    database.execute("UPDATE facts.events SET card_key = 'the same'")
    assert database.execute("SELECT status FROM analytics.events ORDER BY 1 DESC").fetchone() == ("postponed",)
    record_daily_summary(database)

    compose()

    assert "1 event: 1 cancelled" in str(text(database))


def test_all_queries_see_the_same_rows(database: Connection, database_url: str, rows: Rows, compose: Compose) -> None:
    """Meanwhile a loader commits events one by one, and the payout of event n is n: the summary must count exactly as
    many events as its highest payout says."""
    rows.event(rows.session(), 1, trifecta=1)
    stop, event_committed = threading.Event(), threading.Event()

    def load() -> None:
        with psycopg.connect(database_url) as connection:
            other = Rows(connection)
            sessions = {venue: other.session(venue=venue) for venue in range(8, 100)}
            for count, (venue, number) in enumerate(product(sessions, range(1, 13)), start=2):
                other.event(sessions[venue], number, venue=venue, trifecta=count)
                connection.commit()
                event_committed.set()
                if stop.is_set():
                    return

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(10):
            event_committed.clear()
            assert event_committed.wait(DEADLINE_S)
            database.execute("DELETE FROM notifier.ledger")
            record_daily_summary(database)
            compose()
            summary_text = str(text(database)).replace(",", "")
            events = re.findall(r"(\d+) events:", summary_text)
            assert events == re.findall(r"1-2-3 paid (\d+)", summary_text)[:1]
    finally:
        stop.set()
        thread.join(DEADLINE_S)


def test_the_composer_runs_in_its_own_thread_until_it_is_stopped(
    database: Connection, database_url: str, rows: Rows, broker: PostgresBroker
) -> None:
    rows.event(rows.session(), 1)
    record_daily_summary(database)
    stop = threading.Event()
    composer = SummaryComposer(
        lambda: limited_connection(database_url, "summaries", DEADLINE_S),
        lambda: PostgresBroker(database_url),
        default_book,
        DeliveryPolicy(poll_s=0.01),
        max_wait_s=60,
    )
    thread = threading.Thread(target=composer.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: text(database))
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_each_rule_about_days_has_a_summary_of_its_own(
    database: Connection, rows: Rows, broker: PostgresBroker
) -> None:
    book = book_of(
        all={"finding": "daily"},
        exacta={"finding": "daily", "markets": ("exacta",), "template": "{{ date }}: {{ payouts|length }} payouts"},
        removed={"finding": "daily"},
    )
    rows.event(rows.session(), 1)
    with database.transaction():
        Notifier(["console"], FixedClock(), lambda: book).handle([decoded_record(loaded_event(1))], database)
    later = RuleBook(
        book.file.model_copy(update={"rules": {name: book.file.rules[name] for name in ("all", "exacta")}})
    )

    SummaryComposer(open_connection, lambda: broker, lambda: later, DeliveryPolicy(), max_wait_s=60).step(
        database, broker
    )

    texts = dict(database.execute("SELECT rule, text FROM notifier.ledger").fetchall())
    assert texts["exacta"] == "2026-05-02: 0 payouts"
    assert "Weir 1: 1-2-3 paid 1,000" in texts["all"]
    assert texts["removed"] is None
    assert ledger.pending_summaries(database) == []
