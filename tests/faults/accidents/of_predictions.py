"""A database of before a day was predicted comes back after the day was predicted, while everything runs."""

from __future__ import annotations

from typing import Any

import psycopg

from shared.errors import HeadraceError
from tests.faults.accidents import database_copy
from tests.faults.accidents.of_databases import went_back
from tests.faults.report import Report
from tests.faults.world import START_LIMIT_S, World

# What must never be: neither afterwards nor while the events are loaded again. Each is one statement, so it sees one
# state of the database.
_OVERTAKEN = {
    "predictions of events whose state of knowledge is not loaded": (
        "SELECT count(*) FROM facts.predictions p WHERE NOT EXISTS"
        " (SELECT FROM facts.versions v WHERE v.event_id = p.event_id AND v.known_at <= p.as_of)"
    ),
    "messages about predictions of events that are not loaded": (
        "SELECT count(*) FROM notifier.ledger l WHERE l.rule = 'tip' AND NOT EXISTS"
        " (SELECT FROM facts.events e WHERE e.event_key = l.event_key)"
    ),
}


class PredictedDay:
    """Create it before the services start to predict, and call `lose` when they have finished."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._received = world.received()
        self._copy = world.control_dir / "before-predictions"
        database_copy.copy_running(world.server, self._copy)

    def lose(self, report: Report) -> None:
        """On Kafka, the predictions are still in their topic, and their events are not in the database."""
        world = self._world
        with world.connect() as connection:
            predictions = _count(connection, "SELECT count(*) FROM facts.predictions")
        if not predictions:
            report.not_injected.append("loss of a predicted day: no event was predicted")
            return
        database_copy.lose(world.server)
        database_copy.replace(world.server, self._copy)
        world.work(world.start_killed_server, 2 * START_LIMIT_S, "the database of before the predictions")
        meanwhile: set[str] = set()
        world.settle(lambda: meanwhile.update(self._overtaken()))
        report.problems += [f"OVERTAKEN: {what}" for what in sorted(meanwhile | self._overtaken())]
        went_back(world, report, self._received)

    def _overtaken(self) -> set[str]:
        """Empty while the database cannot be read."""
        try:
            with self._world.connect() as connection:
                return overtaken(connection)
        except (HeadraceError, psycopg.Error):
            return set()


def overtaken(connection: psycopg.Connection[Any]) -> set[str]:
    """What must never be and is in the database, in words."""
    return {what for what, query in _OVERTAKEN.items() if _count(connection, query)}


def _count(connection: psycopg.Connection[Any], query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
