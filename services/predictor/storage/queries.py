"""SQL queries of the predictor on the `analytics` views and on a few columns of `facts`. Every value is a parameter.

An event's `conditions` are those of its result and are never read here: only `observed_conditions` was known before.
"""

# Microseconds since 1970: exact in a bigint, and in a float64 too.
_US = "(extract(epoch FROM {0}) * 1000000)::bigint"

_SETTLED = "e.status = 'settled'"
_OF_KEYS = "WHERE t.event_key = ANY(%(keys)s)"
_OF_SETTLED = f"JOIN analytics.events e ON e.event_key = t.event_key WHERE {_SETTLED}"

_EVENTS = f"""
SELECT e.event_key, e.session_key, e.number, e.status, e.title, e.distance_m, e.technique, e.observed_conditions,
       {_US.format("e.scheduled_at")}, {_US.format("e.listed_at")}, {_US.format("e.observed_at")},
       {_US.format("e.settled_at")}
FROM analytics.events e WHERE {{0}} AND e.listed_at IS NOT NULL
"""
# One row per entry of the card, with its observation and its outcome.
_ENTRIES = """
SELECT t.event_key, t.slot, t.entity_key, t.measures, t.categories, s.course, s.measures,
       o.place, o.code, o.course, o.start_timing_s, coalesce(o.refunded, false)
FROM analytics.entries t
LEFT JOIN analytics.observations s ON s.event_key = t.event_key AND s.slot = t.slot
LEFT JOIN analytics.outcomes o ON o.event_key = t.event_key AND o.slot = t.slot
{0}
"""
_AMOUNTS = """
SELECT t.event_key, t.market, t.selection, t.amount, t.ordinal
FROM analytics.transactions t {0}
AND (t.market = %(win)s OR (t.market = %(trend)s AND t.ordinal = 1))
ORDER BY t.selection COLLATE "C" DESC
"""
EVENTS_OF, EVENTS_SETTLED = _EVENTS.format("e.event_key = ANY(%(keys)s)"), _EVENTS.format(_SETTLED)
ENTRIES_OF, ENTRIES_SETTLED = _ENTRIES.format(_OF_KEYS), _ENTRIES.format(_OF_SETTLED)
AMOUNTS_OF, AMOUNTS_SETTLED = _AMOUNTS.format(_OF_KEYS), _AMOUNTS.format(_OF_SETTLED)

_SESSIONS = "SELECT session_key, date - '1970-01-01', venue, grade, title FROM analytics.sessions"
SESSIONS_OF = f"{_SESSIONS} WHERE session_key = ANY(%(sessions)s)"
SESSIONS = f"{_SESSIONS} WHERE %(until)s::date IS NULL OR date <= %(until)s"

POSITION = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"
# One statement, so that the position and the changes come from one snapshot. Visible transactions are older than the
# snapshot's xmax: higher numbers were written on another server, from which the database was copied.
CHANGES = f"""
SELECT p.oldest::text, c.event_key, c.version, c.status, {_US.format("c.settled_at")}
FROM (SELECT pg_snapshot_xmin(s) AS oldest, pg_snapshot_xmax(s) AS beyond FROM pg_current_snapshot() s) p
LEFT JOIN (facts.versions v JOIN facts.events c ON c.id = v.event_id AND c.settled_at IS NOT NULL)
    ON v.written_by >= %(after)s::xid8 AND v.written_by < p.beyond
"""

# The newest prediction per event, state and slot made before the start, of events with exactly one winner.
SETTLED_PREDICTIONS = f"""
SELECT DISTINCT ON (p.event_key, p.state, p.slot)
       p.event_key, p.state, p.slot, p.probability, w.slot, p.model_version, {_US.format("p.as_of")}
FROM analytics.predictions p
JOIN analytics.events e ON e.event_key = p.event_key AND e.status = 'settled' AND p.as_of <= e.scheduled_at
JOIN LATERAL (SELECT min(o.slot) AS slot, count(*) AS winners FROM analytics.outcomes o
              WHERE o.event_key = p.event_key AND o.place = 1) w ON w.winners = 1
WHERE p.head = 'result' AND NOT p.shadow
ORDER BY p.event_key, p.state, p.slot, p.as_of DESC, p.model_version DESC
"""

# `state DESC`: of two predictions as of the same instant, the one that knew the observation.
DECISIONS = f"""
SELECT d.event_key, d.session_key, d.state, d.model_version, {_US.format("d.as_of")}, d.decision
FROM (SELECT DISTINCT ON (p.event_key) p.*, e.scheduled_at
      FROM analytics.decisions p JOIN analytics.events e ON e.event_key = p.event_key AND p.as_of <= e.scheduled_at
      WHERE NOT p.shadow AND p.session_key = ANY(%(sessions)s)
      ORDER BY p.event_key, p.as_of DESC, p.state DESC, p.model_version DESC) d
ORDER BY d.scheduled_at, d.event_key COLLATE "C"
"""

PREDICTIONS_LOADED = "SELECT record_id FROM facts.predictions WHERE record_id = ANY(%(ids)s)"

# Wins per slot over the events that had settled at `before`.
WINS_BEFORE = """
SELECT o.slot, count(*) FROM analytics.outcomes o JOIN analytics.events e USING (event_key)
WHERE o.place = 1 AND e.status = 'settled' AND e.settled_at <= %(before)s GROUP BY o.slot
"""
