"""What the live view reads from the tables."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg
from psycopg.types.json import Jsonb

from headrace.progress.details import read_details
from headrace.progress.frame import EventForecast, HitRate
from services.loader.load import Loader
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import StillClock, at, key, listed, received, settled

Connection = psycopg.Connection[Any]


def load(database: Connection, *facts: Any) -> None:
    with database.transaction():
        Loader(StillClock(), Metrics()).handle([received(fact) for fact in facts], database)


def predict(database: Connection, number: int, *chances: float, as_of: datetime, shadow: bool = False) -> None:
    """Chances of slots 1, 2 ... to win."""
    probabilities: list[dict[str, Any]] = [
        {"head": "result", "slot": slot, "label": "win", "probability": chance}
        for slot, chance in enumerate(chances, start=1)
    ]
    database.execute(
        "INSERT INTO facts.predictions SELECT %s, id, 'card', 'm', %s, %s, '', %s, NULL FROM facts.events"
        " WHERE event_key = %s",
        (
            uuid4(),
            as_of,
            shadow,
            Jsonb([*probabilities, {"head": "trend", "label": "low", "probability": 1.0}]),
            key(number),
        ),
    )


def send(database: Connection, text: str, channel: str, record: Any, state: str = "sent") -> None:
    database.execute(
        "INSERT INTO notifier.ledger (record_id, rule, channel, event_key, text, state, created_at, due_at)"
        " VALUES (%s, 'tip', %s, 'k', %s, %s, now(), now())",
        (record, channel, text, state),
    )


def test_a_prediction_is_shown_before_the_start_and_with_its_result(database: Connection) -> None:
    load(database, listed(1), listed(2), settled(1))
    predict(database, 1, 0.2, 0.5, 0.2, 0.1, as_of=at(-60))
    predict(database, 2, 0.7, 0.1, 0.1, 0.1, as_of=at(-60))

    details = read_details(database, at(25), {})

    [upcoming], [started] = details.upcoming, details.started
    assert (upcoming.event_key, upcoming.venue, upcoming.winners, upcoming.payout) == (key(2), "venue 7", (), None)
    assert [(entry.slot, entry.name) for entry in upcoming.entries[:2]] == [
        (1, "racer river:101"),
        (2, "racer river:102"),
    ]
    assert (started.winners, started.payout, started.is_hit) == ((1,), 160, False)
    assert details.score == HitRate(events=2, settled=1, hits=0, expected_hits=0.5)
    assert (details.predictions, details.products["predictor"]) == (2, "2 predicted")


def test_the_newest_prediction_before_the_start_counts_and_a_shadow_never_does(database: Connection) -> None:
    load(database, listed(1))
    predict(database, 1, 0.6, 0.4, as_of=at(-60))
    predict(database, 1, 0.3, 0.7, as_of=at(-5))
    predict(database, 1, 1.0, 0.0, as_of=at(-4), shadow=True)
    predict(database, 1, 1.0, 0.0, as_of=at(5))

    [started] = read_details(database, at(10), {}).started

    assert [(entry.slot, entry.probability) for entry in started.entries] == [(2, 0.7), (1, 0.3)]
    assert isinstance(started, EventForecast)


def test_events_of_an_earlier_day_are_left_out(database: Connection) -> None:
    load(database, listed(1), listed(2), settled(1))
    for number in (1, 2):
        predict(database, number, 0.6, 0.4, as_of=at(-60))

    details = read_details(database, at(40), {}, since=at(1))

    assert [event.event_key for event in details.started] == [key(2)]
    assert details.score.events == 1


def test_without_predictions_the_newest_results_are_shown(database: Connection) -> None:
    load(database, listed(1), listed(2), settled(1), settled(2, known=60))

    details = read_details(database, at(120), {})

    assert [(each.venue, each.number, each.winner, each.payout) for each in details.results] == [
        ("venue 7", 2, "1 racer river:101", 160),
        ("venue 7", 1, "1 racer river:101", 160),
    ]
    assert details.score == HitRate()


def test_a_message_is_shown_once_however_many_channels_it_went_to(database: Connection) -> None:
    first, second = uuid4(), uuid4()
    for channel in ("console", "discord"):
        send(database, "first", channel, first)
        send(database, "second", channel, second)
    send(database, "waits", "console", uuid4(), "pending")

    details = read_details(database, at(0), {})

    assert [message.text for message in details.messages] == ["second", "first"]
    assert details.sent == 4


def test_services_without_a_heartbeat_are_what_their_processes_are(database: Connection) -> None:
    statuses = read_details(database, at(0), {"loader": "starting"}).statuses

    assert (statuses["loader"].state, statuses["cleaner"].state) == ("starting", "stopped")
