"""A finished run to audit, and ways to damage what it left, behind everybody's back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid5

import psycopg

from headrace.audit.audit_pass import AuditResult, AuditTarget, run_audit
from headrace.audit.window import AuditWindow
from shared.broker.contract import NewRecord, Record
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.frames import decode_batch, encode_batch
from shared.events import NAMESPACE, HeadProbability, Prediction
from shared.records import encode
from shared.topics import PREDICTIONS

Connection = psycopg.Connection[Any]
EVERYTHING = AuditWindow()


def findings(place: AuditTarget, window: AuditWindow = EVERYTHING) -> set[tuple[str, str]]:
    """What is wrong and where."""
    return {(each.kind, each.where) for each in look_twice(place, window).findings}


def look_twice(place: AuditTarget, window: AuditWindow = EVERYTHING) -> AuditResult:
    """Nothing moves here, so the second look need not wait."""
    return run_audit(place, window, second_pass_delay_s=0)


def counts(look: AuditResult) -> dict[str, int]:
    found: dict[str, int] = {}
    for _, fate in look.fates.values():
        found[fate.class_] = found.get(fate.class_, 0) + 1
    return found


def ids_in(connection: Connection, topic: str) -> list[str]:
    return [record.headers["event_id"].decode() for _, records in batches(connection, topic) for record in records]


def batches(connection: Connection, topic: str) -> list[tuple[tuple[int, int, int], list[Record]]]:
    """The stored batches of a topic, each with its primary key."""
    found = connection.execute(
        "SELECT l.topic_id, l.p, l.base_off, l.payload FROM broker.log l JOIN broker.topics t ON t.id = l.topic_id"
        " WHERE t.name = %s ORDER BY l.p, l.base_off",
        (topic,),
    ).fetchall()
    return [((topic_id, p, base), decode_batch(topic, p, base, payload)) for topic_id, p, base, payload in found]


def edit(connection: Connection, topic: str, change: Callable[[list[Record]], Sequence[Record]]) -> None:
    """Write every batch again as `change` gives it; an empty one is deleted. Positions and ends stay as they are."""
    for key, records in batches(connection, topic):
        kept = change(records)
        if list(kept) == records:
            continue
        if not kept:
            connection.execute("DELETE FROM broker.log WHERE (topic_id, p, base_off) = (%s, %s, %s)", key)
            continue
        new = [NewRecord(each.topic, each.key, each.value, each.headers) for each in kept]
        connection.execute(
            "UPDATE broker.log SET n = %s, payload = %s WHERE (topic_id, p, base_off) = (%s, %s, %s)",
            (len(new), encode_batch(new, kept[0].timestamp_ms), *key),
        )


def without(event_id: str) -> Callable[[list[Record]], list[Record]]:
    return lambda records: [each for each in records if each.headers["event_id"] != event_id.encode()]


def doubled(event_id: str) -> Callable[[list[Record]], list[Record]]:
    return lambda records: [
        copy for each in records for copy in [each] * (1 + (each.headers["event_id"] == event_id.encode()))
    ]


def predict(url: str, event_keys: Sequence[str]) -> None:
    """Predictions as the predictor writes them; a recorded day has none of its own."""
    broker = PostgresBroker(url)
    at = "2026-01-05T00:00:00Z"
    producer = broker.producer("predictor-0")
    with producer.unit() as unit:
        for key in event_keys:
            said = Prediction(
                source=key.split(":")[0],
                event_key=key,
                as_of=at,
                state="card",
                model_version="m1",
                feature_hash="f",
                inputs=("loaded-events/0/0",),
                probabilities=(HeadProbability(head="result", slot=1, label="win", probability=1.0),),
            )
            unit.append([encode(said, PREDICTIONS, "prediction/1", uuid5(NAMESPACE, f"p/{key}"), "predictor")])
        unit.commit()
    producer.close()
    broker.close()
