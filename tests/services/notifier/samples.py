"""Synthetic messages and rows around NOW, in the evening of DAY."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from services.notifier.channels.base import Message
from services.notifier.findings.finding import EventDetails, SessionDetails
from shared.broker.contract import Record
from shared.events import HeadProbability, LoadedEvent, Prediction, event_key_of
from shared.records import LIVE, DecodedRecord

SOURCE = "river"
DAY = date(2026, 5, 2)
NOW = datetime(2026, 5, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
RECORD = Record("loaded-events", 0, 0, 0, b"", b"", {})


def message(text: str = "hello", **changes: Any) -> Message:
    return Message("id/tip", UUID(int=5), "tip", key(1), text)._replace(**changes)


class FixedClock:
    def __init__(self, now: datetime = NOW) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


def key(number: int, venue: int = 7) -> str:
    return event_key_of(SOURCE, DAY, venue, number)


def decoded_record(message: LoadedEvent | Prediction, revision: str = LIVE) -> DecodedRecord:
    return DecodedRecord(message, uuid4(), revision, RECORD)


def loaded_event(number: int = 1, **changes: Any) -> LoadedEvent:
    """The loaded-event of an event that started an hour ago and is settled now."""
    return LoadedEvent(
        **{
            "source": SOURCE,
            "event_key": key(number),
            "kind": "settled",
            "version": 1,
            "known_at": NOW,
            "scheduled_at": NOW - HOUR,
            "status": "settled",
            **changes,
        }
    )


def prediction(*wins: float, **changes: Any) -> Prediction:
    """A prediction of event 1, an hour before its start; `wins` are the win probabilities of slots 1, 2 ..."""
    heads = [HeadProbability(head="result", slot=i, label="win", probability=p) for i, p in enumerate(wins, start=1)]
    heads.append(HeadProbability(head="top3", slot=2, label="top3", probability=1.0))
    return Prediction(
        **{
            "source": SOURCE,
            "event_key": key(1),
            "as_of": NOW,
            "scheduled_at": NOW + HOUR,
            "state": "observation",
            "model_version": "m1",
            "feature_hash": "f",
            "inputs": (),
            "probabilities": tuple(heads),
            **changes,
        }
    )


def session(**changes: Any) -> SessionDetails:
    values = {"session_key": f"{SOURCE}:{DAY}:07", "day": DAY, "venue": 7, "venue_name": "Weir", **changes}
    return SessionDetails(**values)


def event(**changes: Any) -> EventDetails:
    return EventDetails(
        **{
            "event_key": key(1),
            "session": session(),
            "number": 1,
            "scheduled_at": NOW - HOUR,
            "status": "settled",
            "names": {1: "Ada", 2: "Ben", 3: "Cy"},
            "places": ((1, 2), (2, 1), (3, 3)),
            **changes,
        }
    )


class Rows:
    """Writes facts as the loader does, into the tables of the test's database."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._source = self._insert(
            "INSERT INTO facts.sources (name) VALUES (%s) ON CONFLICT (name) DO UPDATE SET name = excluded.name"
            " RETURNING id",
            SOURCE,
        )

    def session(self, day: date = DAY, venue: int = 7, grade: int | None = None, name: str = "Weir") -> int:
        venue_id = self._insert(
            "INSERT INTO facts.venues (source_id, code, name) VALUES (%s, %s, %s)"
            " ON CONFLICT (source_id, code) DO UPDATE SET name = excluded.name RETURNING id",
            self._source,
            str(venue),
            name,
        )
        return self._insert(
            "INSERT INTO facts.sessions (session_key, source_id, venue_id, date, title, grade)"
            " VALUES (%s, %s, %s, %s, 'Cup', %s) RETURNING id",
            f"{SOURCE}:{day}:{venue:02d}",
            self._source,
            venue_id,
            day,
            grade,
        )

    def event(
        self,
        session: int,
        number: int,
        status: str = "settled",
        day: date = DAY,
        venue: int = 7,
        winner: int = 1,
        trifecta: int = 1_000,
        at: datetime = NOW - HOUR,
    ) -> int:
        """Six entries with names; when settled, `winner` is first and the others follow by slot."""
        event_key = event_key_of(SOURCE, day, venue, number)
        event_id = self._insert(
            "INSERT INTO facts.events (event_key, session_id, number, scheduled_at, status, listed_at)"
            " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
            event_key,
            session,
            number,
            at,
            status,
            at,
        )
        order = [winner, *(slot for slot in range(1, 7) if slot != winner)]
        for place, slot in enumerate(order, start=1):
            entity = self._insert(
                "INSERT INTO facts.entities (entity_key, source_id, name, known_at)"
                " VALUES (%s, %s, %s, %s) RETURNING id",
                f"{event_key}/{slot}",
                self._source,
                f"Rower {slot}",
                at,
            )
            self._execute(
                "INSERT INTO facts.entries (event_id, slot, entity_id) VALUES (%s, %s, %s)", event_id, slot, entity
            )
            if status == "settled":
                self._execute(
                    "INSERT INTO facts.outcomes (event_id, slot, place) VALUES (%s, %s, %s)", event_id, slot, place
                )
        if status == "settled":
            self._execute(
                "INSERT INTO facts.transactions VALUES (%s, 'trifecta', %s, %s, 1)",
                event_id,
                "-".join(map(str, order[:3])),
                trifecta,
            )
        return event_id

    def prediction(self, event_id: int, wins: list[float], as_of: datetime, shadow: bool = False) -> None:
        heads = [{"head": "result", "slot": i, "label": "win", "probability": p} for i, p in enumerate(wins, start=1)]
        self._execute(
            "INSERT INTO facts.predictions VALUES (%s, %s, 'observation', 'm1', %s, %s, 'f', %s)",
            uuid4(),
            event_id,
            as_of,
            shadow,
            Jsonb(heads),
        )

    def _execute(self, query: str, *values: object) -> None:
        self._connection.execute(query.encode(), values)

    def _insert(self, query: str, *values: object) -> int:
        row = self._connection.execute(query.encode(), values).fetchone()
        assert row is not None
        return int(row[0])
