"""Reads from the tables what the live view shows beside the stages: predictions, results, messages and figures.

Every query is bounded by an index or a limit, because the view asks about once a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from headrace.progress.frame import (
    Details,
    EntryForecast,
    EventForecast,
    HitRate,
    LoadedResult,
    SentMessage,
    StageState,
)
from headrace.progress.replicas import Rows, replicas
from headrace.progress.stages import stage_statuses
from headrace.progress.text import number_of
from shared.ops.tables import orders as orders_table

Span = Mapping[str, datetime]
UPCOMING, STARTED, RESULTS, MESSAGES = 4, 30, 30, 12
# The market whose payout a view shows: a bet on the winner.
WIN = "win"
TABLES = {
    "sessions": "sessions",
    "events": "events",
    "entities": "entities",
    "entries": "entries",
    "observations": "observations",
    "outcomes": "outcomes",
    "payouts": "transactions",
}

_HAS_PREDICTION = "EXISTS (SELECT FROM facts.predictions p WHERE p.event_id = e.id AND NOT p.shadow)"
# The newest prediction of event `e` that was made before its start.
_NEWEST_PREDICTION = """CROSS JOIN LATERAL (
    SELECT * FROM facts.predictions p WHERE p.event_id = e.id AND NOT p.shadow AND p.as_of <= e.scheduled_at
    ORDER BY p.as_of DESC, p.state DESC, p.model_version DESC LIMIT 1) p"""
_FORECASTS = f"""
WITH chosen AS (
    (SELECT e.*, false AS started FROM facts.events e
     WHERE e.scheduled_at > %(now)s AND e.scheduled_at < %(now)s + interval '1 day'
       AND e.status IN ('listed', 'observed') AND {_HAS_PREDICTION}
     ORDER BY e.scheduled_at, e.id LIMIT {UPCOMING})
    UNION ALL
    (SELECT e.*, true FROM facts.events e
     WHERE e.scheduled_at <= %(now)s AND e.scheduled_at >= %(since)s AND {_HAS_PREDICTION}
     ORDER BY e.scheduled_at DESC, e.id DESC LIMIT {STARTED})
)
SELECT e.started, e.event_key, coalesce(v.name, 'venue ' || v.code), e.number, e.scheduled_at, e.status, p.state,
    (SELECT jsonb_object_agg(slot, probability)
     FROM jsonb_to_recordset(p.probabilities) AS h(head text, slot smallint, probability double precision)
     WHERE head = 'result'),
    (SELECT jsonb_object_agg(t.slot, n.name)
     FROM facts.entries t JOIN facts.entities n ON n.id = t.entity_id WHERE t.event_id = e.id),
    (SELECT array_agg(o.slot) FROM facts.outcomes o WHERE o.event_id = e.id AND o.place = 1),
    (SELECT max(t.amount) FROM facts.transactions t WHERE t.event_id = e.id AND t.market = '{WIN}')
FROM chosen e
JOIN facts.sessions s ON s.id = e.session_id JOIN facts.venues v ON v.id = s.venue_id
{_NEWEST_PREDICTION}
ORDER BY e.scheduled_at, e.id
"""
_SCORE = f"""
SELECT count(*), count(w.slots), count(*) FILTER (WHERE best.slot = ANY(w.slots)),
    coalesce(sum(best.probability) FILTER (WHERE w.slots IS NOT NULL), 0)
FROM facts.events e
{_NEWEST_PREDICTION}
CROSS JOIN LATERAL (
    SELECT slot, probability
    FROM jsonb_to_recordset(p.probabilities) AS h(head text, slot smallint, probability double precision)
    WHERE head = 'result' ORDER BY probability DESC, slot LIMIT 1) best
CROSS JOIN LATERAL (
    SELECT array_agg(o.slot) AS slots FROM facts.outcomes o WHERE o.event_id = e.id AND o.place = 1) w
WHERE e.scheduled_at >= %(since)s AND e.scheduled_at < %(now)s + interval '1 day'
"""
_RESULTS = f"""
SELECT coalesce(v.name, 'venue ' || v.code), e.number, e.scheduled_at, coalesce(w.name, ''), t.amount
FROM (SELECT * FROM facts.events WHERE status = 'settled' AND scheduled_at <= %(now)s
      ORDER BY scheduled_at DESC LIMIT {RESULTS}) e
JOIN facts.sessions s ON s.id = e.session_id JOIN facts.venues v ON v.id = s.venue_id
LEFT JOIN LATERAL (
    SELECT o.slot || ' ' || coalesce(n.name, '') AS name FROM facts.outcomes o
    LEFT JOIN facts.entries x ON x.event_id = o.event_id AND x.slot = o.slot
    LEFT JOIN facts.entities n ON n.id = x.entity_id
    WHERE o.event_id = e.id AND o.place = 1 ORDER BY o.slot LIMIT 1) w ON true
LEFT JOIN LATERAL (
    SELECT max(amount) AS amount FROM facts.transactions t WHERE t.event_id = e.id AND t.market = '{WIN}') t ON true
ORDER BY e.scheduled_at DESC, e.id DESC
"""
# A message is in the ledger once for each channel.
_MESSAGES = f"""
SELECT max(id), rule, text FROM (
    SELECT id, record_id, rule, text FROM notifier.ledger
    WHERE state = 'sent' ORDER BY id DESC LIMIT {4 * MESSAGES}) sent
GROUP BY record_id, rule, text ORDER BY max(id) DESC LIMIT {MESSAGES}
"""
_ROWS = "SELECT relname::text, n_live_tup FROM pg_stat_user_tables WHERE schemaname = 'facts'"
_COUNTS = (
    "SELECT (SELECT count(*) FROM facts.predictions WHERE NOT shadow),"
    " (SELECT count(*) FROM notifier.ledger WHERE state = 'sent')"
)


def read_details(
    connection: Rows, now: datetime, processes: Mapping[str, StageState], since: datetime | None = None
) -> Details:
    """`now`: the clock of the run; `since`: predictions of earlier events are left out, by default those of more than a
    day ago. Raises psycopg.Error."""
    span = {"now": now, "since": since or now - timedelta(days=1)}
    statuses = stage_statuses(replicas(connection), orders_table.paused_topics(connection), processes)
    forecasts = _forecasts(connection, span)
    rows = _rows(connection)
    predictions, sent = _pair(connection, _COUNTS)
    return Details(
        statuses=statuses,
        products={
            "loader": number_of(rows["events"], "event"),
            "predictor": f"{predictions:,} predicted",
            "notifier": f"{sent:,} sent",
        },
        upcoming=tuple(forecast for started, forecast in forecasts if not started),
        started=tuple(forecast for started, forecast in reversed(forecasts) if started),
        results=() if forecasts else _results(connection, span),
        rows=rows,
        score=_score(connection, span) if forecasts else HitRate(),
        predictions=predictions,
        sent=sent,
        messages=tuple(SentMessage(*row) for row in connection.execute(_MESSAGES).fetchall()),
    )


def _forecasts(connection: Rows, span: Span) -> list[tuple[bool, EventForecast]]:
    """Whether each has started, and the forecast; in order of the start."""
    return [(row[0], _forecast(row[1:])) for row in connection.execute(_FORECASTS, span).fetchall()]


def _forecast(row: Sequence[Any]) -> EventForecast:
    event_key, venue, number, starts_at, status, state, probabilities, names, winners, payout = row
    entries = _entries(probabilities or {}, names or {})
    return EventForecast(
        event_key, venue, number, starts_at, status, state, entries, tuple(sorted(winners or ())), payout
    )


def _entries(probabilities: Mapping[str, float], names: Mapping[str, str | None]) -> tuple[EntryForecast, ...]:
    entries = [EntryForecast(int(slot), names.get(slot) or "", value) for slot, value in probabilities.items()]
    return tuple(sorted(entries, key=lambda entry: (-entry.probability, entry.slot)))


def _results(connection: Rows, span: Span) -> tuple[LoadedResult, ...]:
    return tuple(LoadedResult(*row) for row in connection.execute(_RESULTS, span).fetchall())


def _score(connection: Rows, span: Span) -> HitRate:
    row = connection.execute(_SCORE, span).fetchone()
    return HitRate() if row is None else HitRate(*row)


def _rows(connection: Rows) -> dict[str, int]:
    """From PostgreSQL's statistics, which lag by about a second and cost nothing."""
    counts: dict[str, Any] = dict(connection.execute(_ROWS).fetchall())
    return {name: int(counts.get(table, 0)) for name, table in TABLES.items()}


def _pair(connection: Rows, query: str) -> tuple[int, int]:
    row = connection.execute(query).fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))
