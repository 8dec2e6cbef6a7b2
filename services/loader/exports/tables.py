"""The tables of a day's export and the query that reads each of them.

The first column of each query is the day of the row; it is removed before the row is written.
"""

from __future__ import annotations

_DATED = (
    "SELECT s.date, e.* FROM analytics.events e JOIN facts.sessions s USING (session_key) WHERE s.date = ANY({days})"
)
_ORDER = {
    "entries": "event_key, slot",
    "observations": "event_key, slot",
    "outcomes": "event_key, slot",
    "transactions": "event_key, market, ordinal",
    "predictions": "event_key, as_of, state, head, slot, class",
}
QUERIES = {
    "sessions": "SELECT date AS day, * FROM analytics.sessions WHERE date = ANY({days}) ORDER BY session_key",
    "events": f"{_DATED} ORDER BY event_key",
    **{
        name: f"SELECT e.date, t.* FROM analytics.{name} t JOIN ({_DATED}) e USING (event_key) ORDER BY {order}"
        for name, order in _ORDER.items()
    },
}
TABLES = tuple(QUERIES)
