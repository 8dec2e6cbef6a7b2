"""Compares two models on the same events, by the stored predictions that both made before the start."""

from __future__ import annotations

from services.predictor.registry.gate import Comparison, PairedForecast
from shared.database.connection import DbConnection

# By model and state: the newest prediction made before the start; of the states, the one with more knowledge.
_BOTH = """
WITH recent AS MATERIALIZED (
    SELECT e.event_key, e.settled_at, e.scheduled_at, s.date::text || ' ' || s.venue::text AS cluster, w.slot AS winner
    FROM analytics.events e
    JOIN analytics.sessions s USING (session_key)
    JOIN LATERAL (SELECT min(o.slot) AS slot, count(*) AS winners FROM analytics.outcomes o
                  WHERE o.event_key = e.event_key AND o.place = 1) w ON w.winners = 1
    WHERE e.status = 'settled' AND s.date > %(after)s
), candidates AS (
    SELECT p.event_key, p.state, p.model_version, p.slot, p.probability, p.as_of,
           max(p.as_of) OVER (PARTITION BY p.event_key, p.state, p.model_version) AS newest
    FROM analytics.predictions p JOIN recent r USING (event_key)
    WHERE p.head = 'result' AND p.class = 'win' AND p.as_of <= r.scheduled_at
      AND p.model_version = ANY(ARRAY[%(candidate)s, %(live)s])
), once AS (
    SELECT DISTINCT ON (event_key, state, model_version, slot) * FROM candidates WHERE as_of = newest
), compared AS (
    SELECT event_key, state,
           array_agg(slot ORDER BY slot) FILTER (WHERE model_version = %(candidate)s) AS slots,
           array_agg(slot ORDER BY slot) FILTER (WHERE model_version = %(live)s) AS live_slots,
           array_agg(probability ORDER BY slot) FILTER (WHERE model_version = %(candidate)s) AS candidate,
           array_agg(probability ORDER BY slot) FILTER (WHERE model_version = %(live)s) AS live
    FROM once GROUP BY event_key, state
), judged AS (
    SELECT DISTINCT ON (r.event_key) r.event_key, r.cluster, array_position(b.slots, r.winner) - 1 AS winner,
           b.candidate, b.live, r.settled_at
    FROM compared b JOIN recent r USING (event_key)
    WHERE b.slots = b.live_slots AND r.winner = ANY(b.slots) ORDER BY r.event_key, b.state DESC
)
SELECT event_key, cluster, winner, candidate, live FROM judged ORDER BY settled_at DESC, event_key LIMIT %(most)s
"""


def stored_duel(connection: DbConnection, comparison: Comparison) -> list[PairedForecast]:
    """The newest first. Only events of days after the training data of both models."""
    parameters = {
        "candidate": comparison.challenger,
        "live": comparison.champion,
        "after": comparison.after,
        "most": comparison.most,
    }
    rows = connection.execute(_BOTH, parameters).fetchall()
    return [
        PairedForecast(key, cluster, winner, tuple(candidate), tuple(live))
        for key, cluster, winner, candidate, live in rows
    ]
