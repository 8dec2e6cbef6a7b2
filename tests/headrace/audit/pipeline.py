"""Audits a finished run, and damages its topics to test that the audit finds it."""

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


def findings(target: AuditTarget, window: AuditWindow = EVERYTHING) -> set[tuple[str, str]]:
    """Kind and place of each finding."""
    return {(each.kind, each.where) for each in audit_now(target, window).findings}


def audit_now(target: AuditTarget, window: AuditWindow = EVERYTHING) -> AuditResult:
    """Audit without a delay before the second pass: the pipeline does not run."""
    return run_audit(target, window, second_pass_delay_s=0)


def counts(result: AuditResult) -> dict[str, int]:
    by_class: dict[str, int] = {}
    for _, fate in result.fates.values():
        by_class[fate.class_] = by_class.get(fate.class_, 0) + 1
    return by_class


def ids_in(connection: Connection, topic: str) -> list[str]:
    return [record.headers["event_id"].decode() for _, records in batches(connection, topic) for record in records]


def batches(connection: Connection, topic: str) -> list[tuple[tuple[int, int, int], list[Record]]]:
    """The stored batches of a topic, each with its primary key."""
    rows = connection.execute(
        "SELECT l.topic_id, l.p, l.base_off, l.payload FROM broker.log l JOIN broker.topics t ON t.id = l.topic_id"
        " WHERE t.name = %s ORDER BY l.p, l.base_off",
        (topic,),
    ).fetchall()
    return [((topic_id, p, base), decode_batch(topic, p, base, payload)) for topic_id, p, base, payload in rows]


def edit(connection: Connection, topic: str, change: Callable[[list[Record]], Sequence[Record]]) -> None:
    """Replace every batch by the result of `change`; delete empty ones. Positions and end offsets do not change."""
    for key, records in batches(connection, topic):
        remaining = change(records)
        if list(remaining) == records:
            continue
        if not remaining:
            connection.execute("DELETE FROM broker.log WHERE (topic_id, p, base_off) = (%s, %s, %s)", key)
            continue
        new = [NewRecord(each.topic, each.key, each.value, each.headers) for each in remaining]
        connection.execute(
            "UPDATE broker.log SET n = %s, payload = %s WHERE (topic_id, p, base_off) = (%s, %s, %s)",
            (len(new), encode_batch(new, remaining[0].timestamp_ms), *key),
        )


def without(event_id: str) -> Callable[[list[Record]], list[Record]]:
    return lambda records: [each for each in records if each.headers["event_id"] != event_id.encode()]


def doubled(event_id: str) -> Callable[[list[Record]], list[Record]]:
    return lambda records: [
        copy for each in records for copy in [each] * (1 + (each.headers["event_id"] == event_id.encode()))
    ]


def predict(url: str, event_keys: Sequence[str]) -> None:
    """Append predictions as the predictor does; a past day has none."""
    broker = PostgresBroker(url)
    at = "2026-01-05T00:00:00Z"
    producer = broker.producer("predictor-0")
    with producer.unit() as unit:
        for key in event_keys:
            prediction = Prediction(
                source=key.split(":")[0],
                event_key=key,
                as_of=at,
                state="card",
                model_version="m1",
                feature_hash="f",
                inputs=("loaded-events/0/0",),
                probabilities=(HeadProbability(head="result", slot=1, label="win", probability=1.0),),
            )
            unit.append([encode(prediction, PREDICTIONS, "prediction/1", uuid5(NAMESPACE, f"p/{key}"), "predictor")])
        unit.commit()
    producer.close()
    broker.close()
