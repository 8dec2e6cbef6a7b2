"""The handler on real rows, with the rights of the notifier's own role."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from services.notifier.notify import Notifier
from services.notifier.postgres_facts import day_rows
from services.notifier.rules import Rules
from shared.ops.tables import operations as operations_table
from tests.services.notifier.conftest import Compose
from tests.services.notifier.samples import DAY, HOUR, NOW, SOURCE, FixedClock, Rows, key, loaded, prediction, received

Connection = psycopg.Connection[Any]
YESTERDAY = DAY - timedelta(days=1)


@pytest.fixture
def notifier() -> Notifier:
    return Notifier(["console"], FixedClock(), Rules())


def handled(notifier: Notifier, database: Connection, *messages: Any, revision: str = "0") -> list[tuple[str, Any]]:
    """Rule and text of everything in the ledger after one more batch."""
    with database.transaction():
        database.execute("SET LOCAL ROLE headrace_notifier")
        assert notifier.handle([received(message, revision) for message in messages], database) == []
    return ledger_of(database)


def ledger_of(database: Connection) -> list[tuple[str, Any]]:
    return database.execute("SELECT rule, text FROM notifier.ledger ORDER BY id").fetchall()


def rules_of(told: list[tuple[str, Any]]) -> list[str]:
    return [rule for rule, _ in told]


def test_a_tip_names_the_favourite(notifier: Notifier, database: Connection, rows: Rows) -> None:
    rows.event(rows.session(), 1, "observed", at=NOW + HOUR)

    told = handled(notifier, database, prediction(0.1, 0.9))

    assert rules_of(told) == ["tip"]
    assert "2 Rower 2: win probability 90.0%" in told[0][1]


def test_a_result_is_told_with_its_payout_and_its_surprise(
    notifier: Notifier, database: Connection, rows: Rows
) -> None:
    session = rows.session(grade=1)
    event = rows.event(session, 12, winner=6, trifecta=98_760)
    rows.event(session, 13, "listed")
    rows.prediction(event, [0.5, 0.2, 0.1, 0.1, 0.07, 0.03], as_of=NOW - 2 * HOUR)

    told = handled(notifier, database, loaded(12))

    assert rules_of(told) == ["big-payout", "grade", "surprise"]
    assert "trifecta 6-1-2 paid 98,760 per 100 staked" in told[0][1]
    assert "1. 6 Rower 6, 2. 1 Rower 1" in told[1][1]
    assert "6 Rower 6 won; our last prediction gave a win probability of 3.0%" in told[2][1]


def test_the_last_prediction_before_the_start_counts(notifier: Notifier, database: Connection, rows: Rows) -> None:
    session = rows.session()
    event = rows.event(session, 1, winner=2)
    rows.event(session, 2, "listed")
    rows.prediction(event, [0.99, 0.01], as_of=NOW - 3 * HOUR)
    rows.prediction(event, [0.5, 0.5], as_of=NOW - 2 * HOUR)
    rows.prediction(event, [0.99, 0.01], as_of=NOW - HOUR / 2)
    rows.prediction(event, [0.99, 0.01], as_of=NOW - 1.5 * HOUR, shadow=True)

    assert handled(notifier, database, loaded(1)) == []


def test_the_same_batch_twice_is_told_once(notifier: Notifier, database: Connection, rows: Rows) -> None:
    rows.event(rows.session(), 1, trifecta=98_760)
    first = handled(notifier, database, loaded(1))

    assert handled(notifier, database, loaded(1)) == first
    assert rules_of(first) == ["big-payout", "daily"]


def test_every_channel_gets_its_own_row(database: Connection, rows: Rows) -> None:
    session = rows.session()
    rows.event(session, 1, trifecta=98_760)
    rows.event(session, 2, "listed")

    handled(Notifier(["console", "discord"], FixedClock(), Rules()), database, loaded(1))

    assert database.execute("SELECT channel, state FROM notifier.ledger ORDER BY id").fetchall() == [
        ("console", "pending"),
        ("discord", "pending"),
    ]


def test_nothing_is_told_for_a_replay(notifier: Notifier, database: Connection, rows: Rows) -> None:
    rows.event(rows.session(), 1, trifecta=98_760)

    assert handled(notifier, database, loaded(1), revision="job-7") == []


@pytest.mark.parametrize(("notify", "told"), [(True, ["big-payout"]), (False, [])])
def test_a_replay_is_told_where_its_operation_says_so(
    notifier: Notifier, database: Connection, rows: Rows, notify: bool, told: list[str]
) -> None:
    rows.event(rows.session(), 1, trifecta=98_760)
    rows.event(rows.session(venue=8), 2, "listed")  # the day is not over
    target = {"topic": "raw-events", "notify": notify}
    operation = operations_table.create(database, "cleaner", "replay", target, "somebody", "")

    assert rules_of(handled(notifier, database, loaded(1), revision=operation.id)) == told


def test_a_backfill_passes_without_asking_the_database(notifier: Notifier, database_url: str) -> None:
    old = received(loaded(known_at=NOW - 48 * HOUR, scheduled_at=NOW - 48 * HOUR))
    with psycopg.connect(database_url) as connection:
        pass

    assert connection.closed
    assert notifier.handle([old] * 118_000, connection) == []


def test_a_session_called_off_is_told_once(
    notifier: Notifier, database: Connection, rows: Rows, compose: Compose
) -> None:
    session = rows.session()
    rows.event(session, 1)
    for number in (2, 3):
        rows.event(session, number, "cancelled")
    rows.event(session, 4, "listed")

    noted = handled(notifier, database, loaded(2, status="cancelled"), loaded(3, status="cancelled"))
    compose()
    told = ledger_of(database)
    again = handled(notifier, database, loaded(3, status="cancelled", version=2))

    assert noted == [("called-off", None)]
    assert rules_of(told) == ["called-off"]
    assert "2 of 4 events will not take place: 2, 3" in told[0][1]
    assert again == told


def test_a_day_is_summed_up_once_when_its_last_event_ended(
    notifier: Notifier, database: Connection, rows: Rows, compose: Compose
) -> None:
    session = rows.session()
    rows.event(session, 1, trifecta=4_000)
    rows.event(session, 2, "void")
    last = rows.event(session, 3, "observed")
    early = handled(notifier, database, loaded(1), loaded(2, status="void"))
    database.execute("UPDATE facts.events SET status = 'cancelled' WHERE id = %s", [last])

    noted = handled(notifier, database, loaded(3, status="void"))
    compose()
    told = ledger_of(database)
    later = handled(notifier, database, loaded(1, version=2))

    assert early == []
    assert noted == [("daily", None)]
    assert rules_of(told) == ["daily"]
    assert "3 events: 1 cancelled, 1 settled, 1 void" in told[0][1]
    assert "Weir 1: 1-2-3 4,000" in told[0][1]
    assert later == told


def test_two_sources_of_events_on_other_days_do_not_hold_a_day_open(
    notifier: Notifier, database: Connection, rows: Rows
) -> None:
    rows.event(rows.session(YESTERDAY), 1, "listed", day=YESTERDAY, at=NOW - 25 * HOUR)
    rows.event(rows.session(), 1)

    assert rules_of(handled(notifier, database, loaded(1))) == ["daily"]


def test_the_digest_scores_the_last_prediction_against_earlier_wins(database: Connection, rows: Rows) -> None:
    before = rows.session(YESTERDAY)
    for number in (1, 2, 3):
        rows.event(before, number, day=YESTERDAY, winner=1, at=NOW - 25 * HOUR)
    event = rows.event(rows.session(), 1, winner=2)
    rows.prediction(event, [0.9, 0.1], as_of=NOW - 3 * HOUR)
    rows.prediction(event, [0.5, 0.5], as_of=NOW - 2 * HOUR)

    found = day_rows(database, SOURCE, DAY, "trifecta")

    assert found.log_losses == {key(1): pytest.approx(0.6931, abs=1e-4)}
    assert found.winners == {key(1): 2}
    assert found.wins == {1: 3}
    assert found.slots == 6


def test_names_from_documents_ping_nobody(notifier: Notifier, database: Connection, rows: Rows) -> None:
    rows.event(rows.session(name="@everyone"), 1, "observed", at=NOW + HOUR)
    database.execute("UPDATE facts.entities SET name = '<@1> @here'")

    (told,) = handled(notifier, database, prediction(0.9, 0.1))

    assert "@everyone" not in told[1]
    assert "@here" not in told[1]
    assert "<@" not in told[1].replace(r"\<", "")
