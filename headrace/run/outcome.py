"""What became of the live day of a demonstration: scores of its predictions, its messages, its biggest surprise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import httpx2

from headrace.progress.replicas import Rows
from headrace.run.simulation import Simulation
from services.notifier.texts.message import plain_text
from shared.events import event_key_of

SOURCE = "simulator"
# The first answer of the simulator's learner takes some seconds: it learns the whole season.
LEARNER_TIMEOUT_S = 120
MESSAGES = 4


def scores_of(connection: Rows, simulation: Simulation, day: date) -> dict[str, Any]:
    """Compare the predictions with those of a perfect learner, which knows how the season is generated but has to learn
    from public documents, like the model, how good each entity is."""
    from services.predictor.backtest.live_scores import evaluate  # noqa: PLC0415 - takes a second, only needed here

    path = f"/truth/v1/learner/{day:%Y}/{day:%Y%m%d}.json"
    answer = httpx2.get(simulation.url + path, timeout=LEARNER_TIMEOUT_S, trust_env=False).raise_for_status()
    rows = answer.json()["learner"]
    return {
        state: scores[state]
        for state, field in (("card", "p_win_card"), ("observation", "p_win_observed"))
        if state in (scores := evaluate(connection, truth_of(rows, day, field)))
    }


def truth_of(rows: Sequence[Mapping[str, Any]], day: date, field: str) -> dict[str, Sequence[float]]:
    """P(win) of each slot by event key. Leaves out events whose `field` is null: they were never observed."""
    return {
        event_key_of(SOURCE, day, row["race_stadium_number"], row["race_number"]): row[field]
        for row in rows
        if row[field] is not None
    }


def last_messages(connection: Rows, day: date) -> list[list[str]]:
    """The last messages about the day, the oldest first, each as its lines without markdown."""
    rows = connection.execute(
        "SELECT text FROM notifier.ledger WHERE state = 'sent' AND event_key LIKE %s ORDER BY id DESC LIMIT %s",
        (f"{SOURCE}:{day}%", MESSAGES),
    )
    return [[plain_text(line) for line in text.splitlines()] for (text,) in reversed(rows.fetchall())]


def biggest_surprise(connection: Rows, day: date) -> str | None:
    """The settled event whose winner was given the lowest probability."""
    row = connection.execute(
        "SELECT event_key FROM analytics.prediction_scores WHERE event_key LIKE %s AND NOT shadow"
        " ORDER BY log_loss DESC, event_key LIMIT 1",
        (f"{SOURCE}:{day}%",),
    ).fetchone()
    return None if row is None else str(row[0])
