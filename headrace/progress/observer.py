"""Reads the state of a running pipeline from the broker, the tables and the fetcher's API. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx2

from headrace.database.access import Access
from headrace.progress.positions import HOPS, TOPICS, FetcherReport, PipelinePositions, Reader, Reading, fetcher_report
from headrace.progress.replicas import Rows, replicas
from headrace.service_tls import tls_context_of
from shared.broker.connect import connect
from shared.broker.contract import Broker, OffsetRange, TopicPartition
from shared.broker.outbox_cursors import OutboxPosition, cursor_of
from shared.broker.postgres.outbox import read_identity
from shared.errors import TransientError
from shared.retry import Retry
from shared.settings.sections import Settings
from shared.topics import OUTBOX_CURSORS, OUTBOX_TOPICS

ADMIN_TIMEOUT_S = 3.0


class Observer:
    """Observes through connections of its own. Not thread-safe."""

    def __init__(self, access: Access, settings: Settings, token: str, ready: Retry | None = None) -> None:
        """`ready`: how to wait for a broker that is not ready yet."""
        self._broker: Broker = connect(settings, access.owner().conninfo("headrace observe"), ready)
        self.record_count = self._broker.record_count()
        self._behind: dict[Reader, tuple[int, int]] = {}
        self.connection: Rows = access.connect("headrace observe")
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {token}"}, timeout=ADMIN_TIMEOUT_S, trust_env=False,
            verify=tls_context_of(settings.admin),
        )  # fmt: skip
        self._admin = settings.admin

    def close(self) -> None:
        self._http.close()
        self.connection.close()
        self._broker.close()

    def positions(self) -> PipelinePositions:
        """Raises TransientError for every error of the broker's client: a caller that only observes may try again."""
        self._broker.probe()
        try:
            return self._read_positions()
        except self._broker.client_errors as error:
            raise TransientError(f"cannot read the positions from Kafka: {type(error).__name__}: {error}") from error

    def _read_positions(self) -> PipelinePositions:
        committed: dict[Reader, int] = {}
        end: dict[TopicPartition, int] = {}
        for service, topics in HOPS:
            committed |= {(service, tp): offset for tp, offset in self._broker.committed(service, topics).items()}
            end |= self._broker.end_offsets(self._partitions(topics))
        positions = PipelinePositions(
            self._broker.begin_offsets(self._partitions(TOPICS)), end, committed, self._outbox()
        )
        return positions.caught_up(self._without_records(positions))

    def _without_records(self, positions: PipelinePositions) -> list[Reader]:
        """Readers that did not move since the last call and have no record between their position and the end."""
        before, self._behind = self._behind, positions.behind()
        spans = {
            reader: OffsetRange(reader[1], *span) for reader, span in self._behind.items() if before.get(reader) == span
        }
        empty = self.record_count.empty(set(spans.values()))
        return [reader for reader, span in spans.items() if span in empty]

    def _outbox(self) -> int:
        """Records that are in the database and not in Kafka yet.

        Relayed records are deleted soon after; if a relay died before that, its cursors say what it had copied.
        """
        if not self._broker.has_outbox:
            return 0
        prefix = self._broker.table_prefix
        rows = self.connection.execute(
            "SELECT t.name, part.p, part.begin_off, part.end_off FROM broker.partitions part"
            " JOIN broker.topics t ON t.id = part.topic_id WHERE t.name = ANY(%s) AND part.end_off > part.begin_off",
            ([prefix + topic for topic in OUTBOX_TOPICS],),
        ).fetchall()
        cursors = self._broker.cursors(OUTBOX_CURSORS) if rows else {}
        identity = read_identity(self.connection)
        relayed = {
            (name, p): cursor_of(cursors, identity, name.removeprefix(prefix), p) or OutboxPosition(0)
            for name, p, _, _ in rows
        }
        return sum(
            # A cursor behind the end is one of another state of the database: everything is relayed again.
            end - (max(begin, relayed[name, p].offset) if relayed[name, p].offset <= end else begin)
            for name, p, begin, end in rows
        )

    def _partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        return [tp for topic in topics for tp in self._broker.partitions(topic)]

    def reading(self, exports: bool) -> Reading:
        """`exports`: whether the loader writes daily files."""
        fetcher = self.fetcher()
        positions = self.positions()
        open_days = "SELECT count(*) FROM facts.export_days WHERE touched > exported"
        # Held messages, and those for a closed address, wait for a person.
        due = (
            "SELECT count(*) FROM notifier.ledger WHERE state IN ('pending', 'sending') AND due_at <= now()"
            " AND NOT EXISTS (SELECT FROM notifier.sending_hold WHERE address IN ('', channel))"
        )
        return Reading(fetcher, positions, self._count(open_days) if exports else 0, self._count(due))

    def fetcher(self) -> FetcherReport | None:
        """From the fetcher's API, because its heartbeat row may be a second old. None while it does not answer."""
        for replica in replicas(self.connection):
            if (
                replica.service == "fetcher"
                and replica.admin_url
                and self._admin.refusal_to_send_token(replica.admin_url) is None
            ):
                try:
                    answer = self._http.get(f"{replica.admin_url}/v1/status").raise_for_status().json()
                except (httpx2.HTTPError, ValueError):
                    return None
                return fetcher_report(answer.get("detail", answer))
        return None

    def view_rows(self) -> dict[str, int]:
        """Rows of every analytics view except those that are computed from others."""
        names = self.connection.execute(
            "SELECT table_name::text FROM information_schema.views"
            " WHERE table_schema = 'analytics'"
            " AND table_name NOT IN ('prediction_scores', 'packed_predictions', 'versions', 'entity_history',"
            " 'listed_history', 'observed_history', 'settled_history', 'outcome_history', 'transaction_history')"
            " ORDER BY 1"
        ).fetchall()
        return {name: self._count(f'SELECT count(*) FROM analytics."{name}"') for (name,) in names}

    def messages_sent(self) -> int:
        return self._count("SELECT count(*) FROM notifier.ledger WHERE state = 'sent'")

    def predictions(self) -> int:
        return self._count("SELECT count(*) FROM facts.predictions")

    def _count(self, query: str) -> int:
        row = self.connection.execute(query).fetchone()
        return 0 if row is None else int(row[0])


def failed_windows(connection: Rows) -> list[Mapping[str, Any]]:
    """As the fetcher last reported them in its heartbeat."""
    rows = connection.execute("SELECT detail FROM ops.replicas WHERE service = 'fetcher'").fetchall()
    return [failed for (detail,) in rows for failed in fetcher_report(detail or {}).failed]


def event_statuses(connection: Rows) -> dict[str, int]:
    """Number of events by status, the most frequent first."""
    query = "SELECT status, count(*) FROM analytics.events GROUP BY status ORDER BY count(*) DESC, status"
    return dict(connection.execute(query).fetchall())


def dead_letter_causes(connection: Rows) -> list[dict[str, Any]]:
    """Open dead letters by service and cause, with an example. Redriven and discarded letters are not open."""
    rows = connection.execute(
        "SELECT service, error, min(message), count(*), min(topic || '/' || p || '/' || off) FROM facts.dead_letters d"
        " WHERE NOT EXISTS (SELECT FROM ops.dead_letters_settled s WHERE (s.service, s.p, s.off) ="
        " (d.service, d.p, d.off)) GROUP BY service, error ORDER BY count(*) DESC, 1, 2 LIMIT 20"
    ).fetchall()
    return [dict(zip(("service", "error", "message", "records", "example"), row, strict=True)) for row in rows]
