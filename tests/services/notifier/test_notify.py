"""The handler on real rows, under the notifier's own database role."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from services.notifier.findings.finding import Daily, Finding, Tip, finding_id
from services.notifier.notify import Notifier
from services.notifier.storage.postgres_facts import day_rows
from shared.ops.tables import operations as operations_table
from tests.services.notifier.books import book_of, default_book
from tests.services.notifier.conftest import Compose
from tests.services.notifier.samples import (
    DAY,
    HOUR,
    NOW,
    SOURCE,
    FixedClock,
    Rows,
    decoded_record,
    event,
    key,
    loaded_event,
    prediction,
)

Connection = psycopg.Connection[Any]
YESTERDAY = DAY - timedelta(days=1)


@pytest.fixture
def notifier() -> Notifier:
    return Notifier(["console"], FixedClock(), default_book)


def ledger_after(
    notifier: Notifier, database: Connection, *messages: Any, revision: str = "0"
) -> list[tuple[str, Any]]:
    """Handles a batch and returns the rule and the text of every message in the ledger."""
    with database.transaction():
        database.execute("SET LOCAL ROLE headrace_notifier")
        assert notifier.handle([decoded_record(message, revision) for message in messages], database) == []
    return ledger_of(database)


def ledger_of(database: Connection) -> list[tuple[str, Any]]:
    return database.execute("SELECT rule, text FROM notifier.ledger ORDER BY id").fetchall()


def rules_of(messages: list[tuple[str, Any]]) -> list[str]:
    return [rule for rule, _ in messages]


def test_a_tip_names_the_favourite(notifier: Notifier, database: Connection, rows: Rows) -> None:
    rows.event(rows.session(), 1, "observed", at=NOW + HOUR)

    messages = ledger_after(notifier, database, prediction(0.1, 0.9))

    assert rules_of(messages) == ["tip"]
    assert "2 Rower 2: win probability 90.0%" in messages[0][1]


def test_a_tip_that_came_before_its_event_is_recorded_when_the_event_is_listed(
    notifier: Notifier, database: Connection, rows: Rows
) -> None:
    """After a restore, the topic of predictions may be ahead of the database; the loader stores them with the event."""
    start = NOW + HOUR
    assert ledger_after(notifier, database, prediction(0.1, 0.9)) == []
    rows.prediction(rows.event(rows.session(), 1, "listed", at=start), [0.1, 0.9], as_of=NOW - HOUR / 2)
    card = {"kind": "listed", "status": "listed", "scheduled_at": start}

    assert ledger_after(notifier, database, loaded_event(1, version=2, **card)) == []
    messages = ledger_after(notifier, database, loaded_event(1, **card))
    assert rules_of(messages) == ["tip"]
    assert ledger_after(notifier, database, loaded_event(1, **card), prediction(0.1, 0.9)) == messages


def test_a_result_causes_notifications_of_its_payout_and_surprise(
    notifier: Notifier, database: Connection, rows: Rows
) -> None:
    session = rows.session(grade=1)
    event = rows.event(session, 12, winner=6, trifecta=98_760)
    rows.event(session, 13, "listed")
    rows.prediction(event, [0.5, 0.2, 0.1, 0.1, 0.07, 0.03], as_of=NOW - 2 * HOUR)

    messages = ledger_after(notifier, database, loaded_event(12))

    assert rules_of(messages) == ["big-payout", "grade", "surprise"]
    assert "trifecta 6-1-2 paid 98,760 per 100 staked" in messages[0][1]
    assert "1. 6 Rower 6, 2. 1 Rower 1" in messages[1][1]
    assert "6 Rower 6 won; our last prediction gave a win probability of 3.0%" in messages[2][1]


def test_the_last_prediction_before_the_start_counts(notifier: Notifier, database: Connection, rows: Rows) -> None:
    session = rows.session()
    event = rows.event(session, 1, winner=2)
    rows.event(session, 2, "listed")
    rows.prediction(event, [0.99, 0.01], as_of=NOW - 3 * HOUR)
    rows.prediction(event, [0.5, 0.5], as_of=NOW - 2 * HOUR)
    rows.prediction(event, [0.99, 0.01], as_of=NOW - HOUR / 2)
    rows.prediction(event, [0.99, 0.01], as_of=NOW - 1.5 * HOUR, shadow=True)

    assert ledger_after(notifier, database, loaded_event(1)) == []


def test_the_same_batch_twice_is_notified_once(notifier: Notifier, database: Connection, rows: Rows) -> None:
    rows.event(rows.session(), 1, trifecta=98_760)
    first = ledger_after(notifier, database, loaded_event(1))

    assert ledger_after(notifier, database, loaded_event(1)) == first
    assert rules_of(first) == ["big-payout", "daily"]


def test_every_channel_gets_its_own_row(database: Connection, rows: Rows) -> None:
    session = rows.session()
    rows.event(session, 1, trifecta=98_760)
    rows.event(session, 2, "listed")

    ledger_after(Notifier(["console", "discord"], FixedClock(), default_book), database, loaded_event(1))

    assert database.execute("SELECT channel, state FROM notifier.ledger ORDER BY id").fetchall() == [
        ("console", "pending"),
        ("discord", "pending"),
    ]


def test_a_replay_causes_no_notification(notifier: Notifier, database: Connection, rows: Rows) -> None:
    rows.event(rows.session(), 1, trifecta=98_760)

    assert ledger_after(notifier, database, loaded_event(1), revision="job-7") == []


@pytest.mark.parametrize(("notify", "rules"), [(True, ["big-payout"]), (False, [])])
def test_a_replay_causes_notifications_if_its_operation_requests_them(
    notifier: Notifier, database: Connection, rows: Rows, notify: bool, rules: list[str]
) -> None:
    rows.event(rows.session(), 1, trifecta=98_760)
    rows.event(rows.session(venue=8), 2, "listed")  # the day is not over
    target = {"topic": "raw-events", "notify": notify}
    operation = operations_table.create(database, "cleaner", "replay", target, "an operator", "")

    assert rules_of(ledger_after(notifier, database, loaded_event(1), revision=operation.id)) == rules


def test_a_backfill_is_handled_without_the_database(notifier: Notifier, database_url: str) -> None:
    old = decoded_record(loaded_event(known_at=NOW - 48 * HOUR, scheduled_at=NOW - 48 * HOUR))
    with psycopg.connect(database_url) as connection:
        pass

    assert connection.closed
    assert notifier.handle([old] * 118_000, connection) == []


def test_a_cancelled_session_is_notified_once(
    notifier: Notifier, database: Connection, rows: Rows, compose: Compose
) -> None:
    session = rows.session()
    rows.event(session, 1)
    for number in (2, 3):
        rows.event(session, number, "cancelled")
    rows.event(session, 4, "listed")

    pending = ledger_after(notifier, database, loaded_event(2, status="cancelled"), loaded_event(3, status="cancelled"))
    compose()
    messages = ledger_of(database)
    again = ledger_after(notifier, database, loaded_event(3, status="cancelled", version=2))

    assert pending == [("called-off", None)]
    assert rules_of(messages) == ["called-off"]
    assert "2 of 4 events will not take place: 2, 3" in messages[0][1]
    assert again == messages


def test_a_day_is_summarized_once_when_its_last_event_has_ended(
    notifier: Notifier, database: Connection, rows: Rows, compose: Compose
) -> None:
    session = rows.session()
    rows.event(session, 1, trifecta=4_000)
    rows.event(session, 2, "void")
    last = rows.event(session, 3, "observed")
    early = ledger_after(notifier, database, loaded_event(1), loaded_event(2, status="void"))
    database.execute("UPDATE facts.events SET status = 'cancelled' WHERE id = %s", [last])

    pending = ledger_after(notifier, database, loaded_event(3, status="void"))
    compose()
    messages = ledger_of(database)
    later = ledger_after(notifier, database, loaded_event(1, version=2))

    assert early == []
    assert pending == [("daily", None)]
    assert rules_of(messages) == ["daily"]
    assert "3 events: 1 cancelled, 1 settled, 1 void" in messages[0][1]
    assert "Weir 1: 1-2-3 paid 4,000" in messages[0][1]
    assert later == messages


def test_open_events_of_other_days_do_not_keep_a_day_open(notifier: Notifier, database: Connection, rows: Rows) -> None:
    rows.event(rows.session(YESTERDAY), 1, "listed", day=YESTERDAY, at=NOW - 25 * HOUR)
    rows.event(rows.session(), 1)

    assert rules_of(ledger_after(notifier, database, loaded_event(1))) == ["daily"]


def test_the_digest_scores_the_last_prediction_against_earlier_wins(database: Connection, rows: Rows) -> None:
    before = rows.session(YESTERDAY)
    for number in (1, 2, 3):
        rows.event(before, number, day=YESTERDAY, winner=1, at=NOW - 25 * HOUR)
    event = rows.event(rows.session(), 1, winner=2)
    rows.prediction(event, [0.9, 0.1], as_of=NOW - 3 * HOUR)
    rows.prediction(event, [0.5, 0.5], as_of=NOW - 2 * HOUR)

    day = day_rows(database, SOURCE, DAY, ["trifecta"])

    assert day.log_losses == {key(1): pytest.approx(0.6931, abs=1e-4)}
    assert day.winners == {key(1): 2}
    assert day.wins == {1: 3}
    assert day.slots == 6


def test_names_from_documents_mention_no_one(notifier: Notifier, database: Connection, rows: Rows) -> None:
    rows.event(rows.session(name="@everyone"), 1, "observed", at=NOW + HOUR)
    database.execute("UPDATE facts.entities SET name = '<@1> @here'")

    (message,) = ledger_after(notifier, database, prediction(0.9, 0.1))

    assert "@everyone" not in message[1]
    assert "@here" not in message[1]
    assert "<@" not in message[1].replace(r"\<", "")


RACES, MAIL = "discord-bot/channel/111111111111111111", "email/mail"
CHANNELS = {
    "races": {"kind": "discord-bot", "channel": "111111111111111111"},
    "mail": {"kind": "email", "to": ("person@example.org",)},
}


def rows_after(notifier: Notifier, database: Connection, *messages: Any) -> list[tuple[Any, ...]]:
    ledger_after(notifier, database, *messages)
    return database.execute("SELECT rule, channel, text FROM notifier.ledger ORDER BY rule, channel").fetchall()


def test_each_rule_has_a_row_for_each_of_its_addresses(database: Connection, rows: Rows) -> None:
    book = book_of(
        CHANNELS,
        everywhere={"finding": "tip", "to": ("races", "mail"), "template": "{{ entry }} at {{ venue_name }}"},
        strict={"finding": "tip", "threshold": 0.99},
        default={"finding": "tip"},
        elsewhere={"finding": "tip", "venues": (8,)},
    )
    rows.event(rows.session(), 1, "observed", at=NOW + HOUR)

    recorded = rows_after(Notifier(["console"], FixedClock(), lambda: book), database, prediction(0.1, 0.9))

    assert [(rule, channel) for rule, channel, _ in recorded] == [
        ("default", "console"),
        ("everywhere", RACES),
        ("everywhere", MAIL),
    ]
    assert [text for _, channel, text in recorded if channel != "console"] == ["2 Rower 2 at Weir"] * 2
    assert {row[0] for row in database.execute("SELECT record_id FROM notifier.ledger")} == {
        finding_id(Tip(event(), 2, 0.9, "m1", "observation"))
    }


def test_a_filter_by_entity_reads_the_entries(database: Connection, rows: Rows) -> None:
    taking_part, absent = f"{key(1)}/3", f"{key(2)}/3"
    book = book_of(a={"finding": "tip", "entities": (taking_part, absent)}, b={"finding": "tip", "entities": (absent,)})
    rows.event(rows.session(), 1, "observed", at=NOW + HOUR)

    recorded = rows_after(Notifier(["console"], FixedClock(), lambda: book), database, prediction(0.1, 0.9))

    assert [rule for rule, _, _ in recorded] == ["a"]


def test_a_notification_expires_as_its_rule_says(database: Connection, rows: Rows) -> None:
    book = book_of(short={"finding": "tip", "expires": "30m"}, never={"finding": "tip"})
    rows.event(rows.session(), 1, "observed", at=NOW + HOUR)

    ledger_after(Notifier(["console"], FixedClock(), lambda: book), database, prediction(0.1, 0.9))

    assert database.execute("SELECT rule, expires_at - created_at FROM notifier.ledger ORDER BY rule").fetchall() == [
        ("never", None),
        ("short", timedelta(minutes=30)),
    ]


def test_the_rules_of_each_batch_are_the_current_ones(database: Connection, rows: Rows) -> None:
    books = iter([book_of(), book_of(tip={"finding": "tip"})])
    notifier = Notifier(["console"], FixedClock(), lambda: next(books))
    rows.event(rows.session(), 1, "observed", at=NOW + HOUR)

    assert rows_after(notifier, database, prediction(0.1, 0.9)) == []
    assert [rule for rule, _, _ in rows_after(notifier, database, prediction(0.1, 0.9))] == ["tip"]


def test_subscribers_are_further_addresses(database: Connection, rows: Rows, compose: Compose) -> None:
    person = "discord-bot/user/222222222222222222"

    def subscribers(_connection: object, rule: str, finding: Finding) -> list[str]:
        """Of everything about venue 7 except summaries of days; the console is an address already."""
        return [] if isinstance(finding, Daily) else [person, "console"]

    session = rows.session()
    rows.event(session, 1, trifecta=98_760)
    rows.event(session, 2, "cancelled")
    notifier = Notifier(["console"], FixedClock(), default_book, subscribers)

    recorded = rows_after(notifier, database, loaded_event(1), loaded_event(2, status="cancelled"))
    compose()

    assert [(rule, channel) for rule, channel, _ in recorded] == [
        ("big-payout", "console"),
        ("big-payout", person),
        ("called-off", "console"),
        ("called-off", person),
        ("daily", "console"),
    ]
    assert database.execute("SELECT count(*) FROM notifier.ledger WHERE text IS NULL").fetchone() == (0,)


def test_a_template_that_fails_for_a_value_is_replaced_by_the_default(database: Connection, rows: Rows) -> None:
    """A template is checked with samples, in which a winner's name is unknown only if its title is unknown, too."""
    template = "{% if title is not none and name is none and title > 3 %}x{% endif %}{{ entry }}"
    book = book_of(tip={"finding": "tip", "template": template})
    rows.event(rows.session(), 1, "observed", at=NOW + HOUR)
    database.execute("UPDATE facts.entities SET name = NULL")

    ((_, _, text),) = rows_after(Notifier(["console"], FixedClock(), lambda: book), database, prediction(0.1, 0.9))

    assert text.startswith("**Favourite** · Weir")
