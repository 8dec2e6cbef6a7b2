"""Rows of records that are no facts: dead letters and predictions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from services.loader.rows import Row, json_text
from shared.broker.contract import Record
from shared.events import Prediction

T = TypeVar("T")


def dead_letter_row(record: Record) -> Row:
    """A record of a dead-letter topic as a row of facts.dead_letters.

    Must not raise for any content: the record would become a dead letter itself, come back here and fail again, without
    end.
    """
    text = {name: _printable(value) for name, value in record.headers.items()}
    return (
        record.topic.removesuffix(".dlq"),
        record.topic,
        record.partition,
        record.offset,
        _parse_or(UUID, text.get("event_id"), UUID(int=0)),
        _printable(record.key),
        text.get("dlq.exception-class", "unknown"),
        text.get("dlq.exception-message", ""),
        _parse_or(_bounded_int, text.get("dlq.attempts"), 1),
        _parse_or(datetime.fromisoformat, text.get("dlq.first-failed-at"), _appended_at(record)),
    )


def _appended_at(record: Record) -> datetime:
    return datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)


def _printable(value: bytes) -> str:
    return value.decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def _bounded_int(text: str) -> int:
    return min(int(text), 2**31 - 1)


def _parse_or(parse: Callable[[str], T], text: str | None, default: T) -> T:
    try:
        return default if text is None else parse(text)
    except ValueError:
        return default


def prediction_row(event_id: UUID, prediction: Prediction) -> Row:
    probabilities: list[dict[str, Any]] = [item.model_dump() for item in prediction.probabilities]
    decision = json_text(prediction.decision.model_dump()) if prediction.decision else None
    return (
        event_id, prediction.event_key, prediction.state, prediction.model_version, prediction.as_of,
        prediction.shadow, prediction.feature_hash, json_text(probabilities), decision,
    )  # fmt: skip
