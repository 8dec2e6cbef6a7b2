"""Records of loaded events, and the rows that the loader writes for results and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal
from uuid import uuid4

import orjson

from services.predictor.serving.predict import PredictorDependencies
from shared.broker.contract import NewRecord, Record
from shared.events import LoadedEvent, Prediction
from shared.records import DecodedRecord
from tests.services.predictor.season import SOURCE, Connection, Event
from tests.services.predictor.serving.small_serving_model import PROFILES

Kind = Literal["listed", "observed", "settled"]
DEPENDENCIES = PredictorDependencies(profiles=PROFILES)


def loaded_record(event: Event, kind: Kind, revision: str = "0", offset: int = 0) -> DecodedRecord:
    known_at = {"listed": event.listed_at, "settled": event.settled_at}.get(kind, event.scheduled_at)
    message = LoadedEvent(
        source=SOURCE, event_key=event.key, kind=kind, version=1, known_at=known_at, scheduled_at=event.scheduled_at
    )
    record = Record("loaded-events", 3, offset, 0, event.key.encode(), b"", {})
    return DecodedRecord(message, uuid4(), revision, record)


def predictions(records: Sequence[NewRecord]) -> list[Prediction]:
    return [Prediction.model_validate_json(record.value) for record in records]


def cards(records: Sequence[NewRecord]) -> list[Prediction]:
    return [prediction for prediction in predictions(records) if prediction.state == "card"]


def ids(records: Sequence[NewRecord]) -> list[str]:
    return [record.headers["event_id"].decode() for record in records]


def store_predictions(connection: Connection, records: Sequence[NewRecord]) -> None:
    """Store predictions as the loader does."""
    for record in records:
        body: dict[str, Any] = orjson.loads(record.value)
        decision = body.get("decision")
        connection.execute(
            "INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash,"
            " probabilities, decision) SELECT %s, id, %s, %s, %s, %s, %s, %s, %s FROM facts.events"
            " WHERE event_key = %s ON CONFLICT DO NOTHING",
            (
                record.headers["event_id"].decode(),
                body["state"],
                body["model_version"],
                body["as_of"],
                body["shadow"],
                body["feature_hash"],
                orjson.dumps(body["probabilities"]).decode(),
                orjson.dumps(decision).decode() if decision else None,
                body["event_key"],
            ),
        )


def settle(connection: Connection, event: Event, winner: int) -> None:
    """Stores a result as the loader does, with the version row that refreshes a history cache."""
    others = [slot for slot in range(1, 7) if slot != winner]
    with connection.transaction():
        (event_id,) = connection.execute(
            "UPDATE facts.events SET status = 'settled', settled_at = %s, version = version + 1 WHERE event_key = %s"
            " RETURNING id",
            (event.settled_at, event.key),
        ).fetchone()  # type: ignore[misc]
        for place, slot in enumerate([winner, *others], 1):
            connection.execute(
                "INSERT INTO facts.outcomes (event_id, slot, place) VALUES (%s, %s, %s)", (event_id, slot, place)
            )
        note_version(connection, event_id)


def note_version(connection: Connection, event_id: int) -> None:
    connection.execute(
        "INSERT INTO facts.versions (event_id, kind, version, known_at, revision, record_id, body)"
        " VALUES (%s, 'settled', 1, now(), '0', gen_random_uuid(), '')",
        (event_id,),
    )
