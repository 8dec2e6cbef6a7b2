"""Reads from the database what the alerts depend on: what replicas report, orders, operations, facts about failures.

Lags come from the heartbeats (ops.replicas), so no broker is asked and a service that is down has no known lag.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from services.notifier.alerts.reading import (
    AcknowledgedChanges,
    AuditReading,
    BotToken,
    ChangeReading,
    DeadLetterReading,
    ModelReading,
    PipelineReading,
    QualityReading,
    ReplicaReading,
    TopicBacklog,
    TrippedPartition,
    WindowReading,
)
from services.notifier.storage.postgres_bot_state import TOKEN, read_bot_state
from shared.database.connection import DbConnection
from shared.ops.tables import audit_results, quality_results
from shared.ops.tables.orders import FRESH_S, paused_topics

_IS_LIVE = f"r.state <> 'stopped' AND r.seen_at > clock_timestamp() - make_interval(secs => {FRESH_S})"
_REPLICAS = (
    f"SELECT service, replica, state, {_IS_LIVE}, ready, coalesce(detail ->> 'not_ready', detail ->> 'cause', ''),"
    " seen_at FROM ops.replicas r ORDER BY service, replica"
)
_LAGS = f"SELECT service, lag FROM ops.replicas r WHERE {_IS_LIVE} AND lag IS NOT NULL ORDER BY seen_at"
_HELD = (
    "SELECT o.service, o.topic, o.p, coalesce(o.cause, '') FROM ops.observed o JOIN ops.replicas r"
    f" USING (service, replica) WHERE o.state = 'tripped' AND {_IS_LIVE} ORDER BY 1, 2, 3"
)
_OPERATIONS = (
    "SELECT DISTINCT service, kind FROM ops.operations WHERE finished_at IS NULL AND state IN ('waiting', 'running')"
    " AND kind IN ('replay', 'redrive', 'backfill')"
)
# A replica that does not fetch has no windows.
_WINDOWS = (
    "SELECT detail -> 'windows', jsonb_path_query_array(detail, '$.failed[0 to 4]'), detail -> 'changes'"
    " FROM ops.replicas r"
    f" WHERE service = 'fetcher' AND {_IS_LIVE} AND state <> 'standing by' AND detail -> 'windows' ? 'failed'"
    " ORDER BY seen_at DESC LIMIT 1"
)
# A change is reported for a day by the fetcher's clock.
_ACKNOWLEDGED = (
    "SELECT rule, subject, detail, resolved_at IS NULL FROM notifier.incidents WHERE kind = 'window-changed'"
    " AND acknowledged_at > clock_timestamp() - interval '3 days'"
)
_MODELS = (
    "SELECT detail ->> 'model_version', detail -> 'scores' FROM ops.replicas r"
    f" WHERE service = 'predictor' AND {_IS_LIVE} AND detail ? 'scores'"
)
# Also of dead letters that no service can settle any more, because retention removed them from their topic.
_DEAD_LETTERS = (
    "SELECT service, count(*), count(*) FILTER (WHERE is_new), coalesce(mode() WITHIN GROUP (ORDER BY error)"
    " FILTER (WHERE is_new), min(error)) FROM"
    " (SELECT d.service, d.error, d.failed_at > clock_timestamp() - interval '1 hour' AS is_new"
    " FROM analytics.dead_letters d WHERE NOT EXISTS (SELECT FROM ops.dead_letters_settled s"
    ' WHERE (s.service, s.p, s.off) = (d.service, d.partition, d."offset"))) letters GROUP BY service'
)


def read_pipeline(connection: DbConnection) -> PipelineReading:
    """Reads within the caller's transaction, if there is one. Times are the database's clock."""
    (at,) = connection.execute("SELECT clock_timestamp()").fetchone() or (None,)
    assert at is not None  # noqa: S101  # the statement has no WHERE
    operations = connection.execute(_OPERATIONS).fetchall()
    windows = connection.execute(_WINDOWS).fetchone()
    return PipelineReading(
        at=at,
        replicas=tuple(ReplicaReading(*row) for row in connection.execute(_REPLICAS).fetchall()),
        paused=frozenset(paused_topics(connection)),
        held=tuple(TrippedPartition(*row) for row in connection.execute(_HELD).fetchall()),
        backlogs=_backlogs(connection.execute(_LAGS).fetchall()),
        replaying=frozenset(service for service, kind in operations if kind != "backfill"),
        is_backfilling=any(kind == "backfill" for _, kind in operations),
        windows=None if windows is None else _windows(windows[0], windows[1]),
        changes=None if windows is None or windows[2] is None else tuple(map(_change, windows[2])),
        acknowledged=tuple(_acknowledged(*row) for row in connection.execute(_ACKNOWLEDGED).fetchall()),
        dead_letters={row[0]: DeadLetterReading(*row[1:]) for row in connection.execute(_DEAD_LETTERS).fetchall()},
        models=_models(connection.execute(_MODELS).fetchall()),
        audit=_audit(connection),
        quality=_quality(connection),
        bot_token=_bot_token(connection),
    )


def _backlogs(rows: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[tuple[str, str], TopicBacklog]:
    """All replicas of a service measure the same lag; the newest measurement counts."""
    return {
        (service, topic): TopicBacklog(int(each["records"]), each["seconds"])
        for service, lag in rows
        for topic, each in lag.items()
    }


def _windows(counts: Mapping[str, int], failed: Sequence[Mapping[str, Any]]) -> WindowReading:
    examples = tuple(f"{each['window']}: {each['error']}" for each in failed)
    return WindowReading(counts.get("due", 0), counts["failed"], counts.get("suspect", 0), examples)


def _change(each: Mapping[str, Any]) -> ChangeReading:
    return ChangeReading(each["window"], datetime.fromisoformat(each["at"]), each["events"], tuple(each["lines"]))


def _acknowledged(rule: str, subject: str, detail: Mapping[str, Any], is_open: bool) -> AcknowledgedChanges:
    until = datetime.fromisoformat(detail["newest_at"])
    return AcknowledgedChanges(rule, subject, frozenset(detail["windows"]), until, is_open)


def _models(rows: Sequence[tuple[str | None, Sequence[Mapping[str, Any]]]]) -> tuple[ModelReading, ...] | None:
    """Of replicas that have scored different events, those with the most events count."""
    if not rows:
        return None
    scores = [each for live, scores in rows for each in scores if each["model"] == live]
    best = {(each["model"], each["state"]): each for each in sorted(scores, key=lambda each: int(each["events"]))}
    return tuple(
        ModelReading(
            model, state, each["events"], each["log_loss"], each["base_log_loss"],
            None if each["behind"] is None else each["behind"][1],
        )
        for (model, state), each in sorted(best.items())
    )  # fmt: skip


def _audit(connection: DbConnection) -> AuditReading | None:
    newest = audit_results.newest(connection)
    return None if newest is None else AuditReading(newest.at, newest.findings)


def _quality(connection: DbConnection) -> QualityReading | None:
    newest = quality_results.newest(connection)
    if newest is None:
        return None
    return QualityReading(newest.at, f"{newest.first_day} to {newest.last_day}", newest.broken, newest.findings)


def _bot_token(connection: DbConnection) -> BotToken | None:
    state = read_bot_state(connection, TOKEN)
    if state is None:
        return None
    return BotToken(bool(state.value.get("accepted", True)), str(state.value.get("reason", "")), state.changed_at)
