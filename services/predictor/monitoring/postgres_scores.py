"""Reads the predictions of settled events, of live models and shadows, and how often each slot won before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.predictor.monitoring.rolling_scores import WINDOW_EVENTS
from services.predictor.monitoring.scoring import SettledPrediction
from shared.database.connection import ReconnectingConnection
from shared.errors import TransientError

# By event, state and model: the newest prediction made before the start, for events with exactly one winner.
# Predictions of a model as a shadow and as the live model count alike.
_SCORED = """
WITH wanted AS MATERIALIZED (
    SELECT e.event_key, e.session_key, e.scheduled_at, e.settled_at, w.slot AS winner
    FROM analytics.events e
    JOIN LATERAL (SELECT min(o.slot) AS slot, count(*) AS winners FROM analytics.outcomes o
                  WHERE o.event_key = e.event_key AND o.place = 1) w ON w.winners = 1
    WHERE e.status = 'settled' AND {wanted}
), candidates AS (
    SELECT w.event_key, w.session_key, w.settled_at, w.winner, p.state, p.model_version, p.as_of,
           array_agg(p.slot ORDER BY p.slot) AS slots, array_agg(p.probability ORDER BY p.slot) AS p_win
    FROM wanted w JOIN analytics.predictions p USING (event_key)
    WHERE p.head = 'result' AND p.as_of <= w.scheduled_at {condition}
    GROUP BY w.event_key, w.session_key, w.settled_at, w.winner, p.state, p.model_version, p.as_of, p.shadow
), newest AS (
    SELECT DISTINCT ON (event_key, state, model_version) * FROM candidates
    ORDER BY event_key, state, model_version, as_of DESC
)
SELECT event_key, session_key, state, model_version, slots, p_win, winner FROM newest ORDER BY settled_at, event_key
"""
PREDICTIONS_OF_EVENTS = _SCORED.format(wanted="e.event_key = ANY(%(keys)s)", condition="")
RECENT_PREDICTIONS = _SCORED.format(
    wanted="""e.event_key IN (
        SELECT event_key FROM analytics.events WHERE status = 'settled' ORDER BY settled_at DESC LIMIT %(most)s
    )""",
    condition="AND p.model_version = ANY(%(models)s)",
)
WINS = """
SELECT o.slot, count(*) FROM analytics.outcomes o JOIN analytics.events e USING (event_key)
WHERE o.place = 1 AND e.status = 'settled' AND e.settled_at <= (
    SELECT min(scheduled_at) FROM analytics.events WHERE event_key = ANY(%(keys)s)
) GROUP BY o.slot
"""


class PostgresScores:
    """Uses a connection of its own. For one thread."""

    def __init__(self, link: ReconnectingConnection, first_read_s: float | None = None) -> None:
        """`first_read_s`: the limit of the reads at the start; None: that of the connection."""
        self._link = link
        self._first_read_s = first_read_s

    def settled_predictions(self, event_keys: Sequence[str]) -> list[SettledPrediction]:
        return self._predictions(PREDICTIONS_OF_EVENTS, {"keys": list(event_keys)})

    def recent_settled_predictions(self, models: Sequence[str]) -> list[SettledPrediction]:
        parameters = {"models": list(models), "most": WINDOW_EVENTS}
        return self._predictions(RECENT_PREDICTIONS, parameters, self._first_read_s)

    def wins(self, before: Sequence[str]) -> Mapping[int, int]:
        return {int(slot): int(count) for slot, count in self._rows(WINS, {"keys": list(before)}, self._first_read_s)}

    def close(self) -> None:
        self._link.drop()

    def _predictions(
        self, query: str, parameters: Mapping[str, Any], answer_s: float | None = None
    ) -> list[SettledPrediction]:
        return [
            SettledPrediction(key, session, state, model, dict(zip(slots, p_win, strict=True)), winner)
            for key, session, state, model, slots, p_win, winner in self._rows(query, parameters, answer_s)
        ]

    def _rows(self, query: str, parameters: Mapping[str, Any], answer_s: float | None = None) -> list[tuple[Any, ...]]:
        try:
            with self._link.use(answer_s) as connection:
                return connection.execute(query, parameters).fetchall()
        except TransientError as error:
            raise TransientError(f"cannot read predictions: {error}") from error
