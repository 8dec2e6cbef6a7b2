"""Records a committed unit in the metrics, and each dead letter in the log."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

import structlog

from shared.broker.contract import Record
from shared.runtime.dead_letters.letter import FailedRecord
from shared.runtime.loops.batch import BatchResult
from shared.runtime.metrics import Metrics
from shared.topics import RETRY_TOPICS

log = structlog.get_logger(__name__)


def record_commit(
    metrics: Metrics, service: str, records: Sequence[Record], result: BatchResult, took_s: float
) -> None:
    failed = Counter(each.record.topic for each in result.failures)
    handled = Counter(record.topic for record in records) - failed
    for outcome, counts in (("handled", handled), ("failed", failed)):
        for topic, count in counts.items():
            metrics.records_total.labels(service=service, topic=topic, outcome=outcome).inc(count)
            if topic in RETRY_TOPICS:
                metrics.redriven_total.labels(outcome=outcome).inc(count)
    for each in result.failures:
        metrics.dead_letters_total.labels(topic=each.record.topic, reason=type(each.error).__name__).inc()
        _log_dead_letter(each)
    newest_ms = max(record.timestamp_ms for record in records)
    metrics.units_total.labels(outcome="committed").inc()
    metrics.batch_duration_seconds.labels(stage=service).observe(took_s)
    metrics.batch_size_records.observe(len(records))
    metrics.event_age_seconds.labels(stage=service).set(max(0.0, time.time() - newest_ms / 1000))
    metrics.last_success_timestamp_seconds.set(time.time())


def _log_dead_letter(failed: FailedRecord) -> None:
    record = failed.record
    log.warning(
        "dead_letter_written", topic=record.topic, partition=record.partition, offset=record.offset,
        event_id=record.headers.get("event_id", b"").decode(errors="replace"), stage=failed.stage,
        attempts=failed.attempts, error=type(failed.error).__name__, cause=str(failed.error),
    )  # fmt: skip
