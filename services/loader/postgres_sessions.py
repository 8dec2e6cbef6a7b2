"""Writes title and grade of facts.sessions: the fold of what the cards of a session's events state."""

from __future__ import annotations

from collections.abc import Collection

from shared.database.connection import DbConnection

_SESSION_IDS = "SELECT DISTINCT session_id FROM facts.events WHERE event_key = ANY(%s)"
_LOCK = "SELECT FROM facts.sessions WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
# The value of the card that became known last and has one. Of cards of one time it is that of the greatest event key.
_NEWEST = (
    '(array_agg(e.{column} ORDER BY e.listed_at DESC, e.event_key COLLATE "C" DESC)'
    " FILTER (WHERE e.{column} IS NOT NULL))[1]"
)
STATED = (
    f"SELECT e.session_id, {_NEWEST.format(column='session_title')} AS title,"
    f" {_NEWEST.format(column='session_grade')} AS grade FROM facts.events e"
)
"""What the events say of their sessions; a caller adds WHERE and GROUP BY e.session_id."""
_SET = (
    "UPDATE facts.sessions s SET title = w.title, grade = w.grade FROM ({stated} GROUP BY e.session_id) w"
    " WHERE s.id = w.session_id AND (s.title, s.grade) IS DISTINCT FROM (w.title, w.grade)"
)
_FOLD = _SET.format(stated=f"{STATED} WHERE e.session_id = ANY(%s)")
_FOLD_ALL = _SET.format(stated=STATED)


def fold_sessions(connection: DbConnection, event_keys: Collection[str]) -> None:
    """Bring the sessions of these events up to date with their events.

    Their rows stay locked until the transaction ends. Of two loaders with events of one session the later one therefore
    sees those of both. Called after the days of the events are locked, which are fewer and shared by more events.
    """
    session_ids = [row[0] for row in connection.execute(_SESSION_IDS, (sorted(event_keys),))]
    if session_ids:
        connection.execute(_LOCK, (session_ids,))
        connection.execute(_FOLD, (session_ids,))


def fold_all_sessions(connection: DbConnection) -> None:
    connection.execute(_FOLD_ALL)
