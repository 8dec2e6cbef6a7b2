"""Settled events and the predictions of models, as rows of a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import psycopg
from psycopg.types.json import Jsonb

SLOTS = 3
FIRST = date(2031, 5, 1)
TRUE, BLUNT = 1.0986, 0.2
"""Logit that a model gives the best entry: the true one (probability .6, others .2), or a much lower one."""


def settle(
    connection: psycopg.Connection[Any],
    best_logits: Mapping[str, float],
    *,
    days: int = 20,
    a_day: int = 15,
    first: date = FIRST,
    states: Sequence[str] = ("observation",),
    late: bool = False,
) -> None:
    """`best_logits`: logit of the best entry, by model version. `late`: predictions are made after the start."""
    rng = np.random.default_rng(5)
    with connection.transaction():
        source = _one(
            connection,
            "INSERT INTO facts.sources (name) VALUES ('boatrace') ON CONFLICT (name)"
            " DO UPDATE SET name = excluded.name RETURNING id",
        )
        venue = _one(
            connection,
            "INSERT INTO facts.venues (source_id, code) VALUES (%s, '7') ON CONFLICT"
            " (source_id, code) DO UPDATE SET code = '7' RETURNING id",
            source,
        )
        for on in (first + timedelta(days=day) for day in range(days)):
            session = _one(
                connection,
                "INSERT INTO facts.sessions (session_key, source_id, date, venue_id)"
                " VALUES (%s, %s, %s, %s) RETURNING id",
                f"boatrace:{on}:07",
                source,
                on,
                venue,
            )
            for number in range(1, a_day + 1):
                starts = datetime.combine(on, time(1), UTC) + timedelta(minutes=20 * number)
                best = int(rng.integers(SLOTS))
                winner = int(rng.choice(SLOTS, p=_win_probabilities(best, TRUE)))
                event = _event(connection, session, f"boatrace:{on}:07:{number:02}", number, starts, winner)
                _predictions(
                    connection, event, starts + timedelta(minutes=1 if late else -10), best, best_logits, states
                )


def _event(
    connection: psycopg.Connection[Any], session: int, key: str, number: int, starts: datetime, winner: int
) -> int:
    event = _one(
        connection,
        "INSERT INTO facts.events (event_key, session_id, number, status, scheduled_at, settled_at)"
        " VALUES (%s, %s, %s, 'settled', %s, %s) RETURNING id",
        key,
        session,
        number,
        starts,
        starts + timedelta(minutes=15),
    )
    connection.execute("INSERT INTO facts.outcomes (event_id, slot, place) VALUES (%s, %s, 1)", (event, winner + 1))
    return event


def _predictions(
    connection: psycopg.Connection[Any],
    event: int,
    as_of: datetime,
    best: int,
    best_logits: Mapping[str, float],
    states: Sequence[str],
) -> None:
    for version, logit in best_logits.items():
        win = _win_probabilities(best, logit)
        heads = [
            {"head": "result", "slot": slot + 1, "label": "win", "probability": float(win[slot])}
            for slot in range(SLOTS)
        ]
        for state in states:
            connection.execute(
                "INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash,"
                " probabilities) VALUES (gen_random_uuid(), %s, %s, %s, %s, true, 'f', %s)",
                (event, state, version, as_of, Jsonb(heads)),
            )


def _win_probabilities(best: int, best_logit: float) -> Any:
    logits = np.zeros(SLOTS)
    logits[best] = best_logit
    return np.exp(logits) / np.exp(logits).sum()


def _one(connection: psycopg.Connection[Any], query: str, *values: Any) -> int:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return int(row[0])
