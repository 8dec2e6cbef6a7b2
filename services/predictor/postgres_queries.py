"""What the predictor asks of the `analytics` views. Constants only; every value is a parameter.

An event's `conditions` are those of its result and are never read here: only `observed_conditions` was known before.
"""

# Microseconds since 1970: exact in a bigint, and in a float64 too.
_US = "(extract(epoch FROM {0}) * 1000000)::bigint"

_OF_KEYS = "e.event_key = ANY(%(keys)s)"
_SETTLED = "e.status = 'settled'"

EVENTS = f"""
SELECT e.event_key, e.session_key, e.number, e.distance_m, e.status, e.observed_conditions,
       {_US.format("e.listed_at")}, {_US.format("e.observed_at")}, {_US.format("e.settled_at")},
       {_US.format("e.scheduled_at")}
FROM analytics.events e WHERE {{0}} AND e.listed_at IS NOT NULL ORDER BY e.scheduled_at, e.event_key COLLATE "C"
"""
ENTRIES = """
SELECT e.event_key, t.slot, t.entity_key, t.measures, t.categories
FROM analytics.entries t JOIN analytics.events e USING (event_key) WHERE {0}
"""
OBSERVATIONS = """
SELECT e.event_key, t.slot, t.course, t.measures
FROM analytics.observations t JOIN analytics.events e USING (event_key) WHERE {0}
"""
EVENTS_OF, EVENTS_SETTLED = EVENTS.format(_OF_KEYS), EVENTS.format(_SETTLED)
ENTRIES_OF, ENTRIES_SETTLED = ENTRIES.format(_OF_KEYS), ENTRIES.format(_SETTLED)
OBSERVATIONS_OF, OBSERVATIONS_SETTLED = OBSERVATIONS.format(_OF_KEYS), OBSERVATIONS.format(_SETTLED)

SESSIONS = "SELECT session_key, venue, grade, date::text FROM analytics.sessions"
SESSIONS_OF = f"{SESSIONS} WHERE session_key = ANY(%(sessions)s)"

OUTCOMES_SETTLED = f"""
SELECT e.event_key, o.slot, o.place, o.course, o.start_timing_s
FROM analytics.outcomes o JOIN analytics.events e USING (event_key) WHERE {_SETTLED}
"""
AMOUNTS = "SELECT event_key, amount FROM analytics.transactions WHERE market = %(market)s AND ordinal = 1"

# The last starts of every entity of these events, as of each of the instants asked about: all between the first and
# the last of them, and %(most)s before. A start: there is a place or a course, so an absent entry made none. The venue
# is the key's third part (shared.events.event_key_of). OFFSET 0 keeps the planner from moving the conditions inside:
# it cannot estimate the view's status, and would read the whole table once per entity.
STARTS_OF = f"""
WITH wanted AS MATERIALIZED (
    SELECT t.entity_key, min(e.listed_at) AS first, max(greatest(e.listed_at, e.observed_at)) AS last
    FROM analytics.events e JOIN analytics.entries t USING (event_key)
    WHERE {_OF_KEYS} AND t.entity_key IS NOT NULL GROUP BY t.entity_key
), starts AS (
    SELECT w.entity_key, w.first, s.* FROM wanted w CROSS JOIN LATERAL (
        SELECT e.event_key, e.status, e.settled_at, o.slot, o.course, o.place, o.start_timing_s
        FROM analytics.entries t
        JOIN analytics.events e USING (event_key)
        JOIN analytics.outcomes o ON o.event_key = t.event_key AND o.slot = t.slot
        WHERE t.entity_key = w.entity_key OFFSET 0
    ) s
    WHERE s.status = 'settled' AND s.settled_at <= w.last AND (s.place IS NOT NULL OR s.course IS NOT NULL)
)
SELECT s.entity_key, s.event_key, split_part(s.event_key, ':', 3)::integer, s.slot, s.course, s.place,
       s.start_timing_s, {_US.format("s.settled_at")}
FROM (SELECT *, row_number() OVER (PARTITION BY entity_key, settled_at > first
                                   ORDER BY settled_at DESC, event_key COLLATE "C" DESC, slot DESC) AS n FROM starts) s
WHERE s.settled_at > s.first OR s.n <= %(most)s
"""

# The newest prediction per event, state and slot that was made before the start, where exactly one entry won.
_TOLD = """
SELECT DISTINCT ON (p.event_key, p.state, p.slot) p.event_key, p.state, p.slot, p.probability, w.slot, p.as_of
FROM analytics.predictions p
JOIN analytics.events e ON e.event_key = p.event_key AND e.status = 'settled' AND p.as_of <= e.scheduled_at
JOIN LATERAL (SELECT min(o.slot) AS slot, count(*) AS winners FROM analytics.outcomes o
              WHERE o.event_key = p.event_key AND o.place = 1) w ON w.winners = 1
WHERE p.head = 'result' AND NOT p.shadow {0}
ORDER BY p.event_key, p.state, p.slot, p.as_of DESC, p.model_version DESC
"""
TOLD_OF = _TOLD.format("AND p.event_key = ANY(%(keys)s)")
TOLD = _TOLD.format("")

PREDICTIONS_LOADED = "SELECT record_id FROM facts.predictions WHERE record_id = ANY(%(ids)s)"

# Wins per slot over the events that had settled when the first prediction was made.
WINS_BEFORE = """
SELECT o.slot, count(*) FROM analytics.outcomes o JOIN analytics.events e USING (event_key)
WHERE o.place = 1 AND e.status = 'settled' AND e.settled_at <= %(before)s GROUP BY o.slot
"""
