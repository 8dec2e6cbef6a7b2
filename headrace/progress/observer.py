"""Reads how a running Headrace is: the log, the tables, the services' own words. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg

from headrace.database.access import Access
from headrace.progress.positions import HOPS, TOPICS, Done, FetcherReport, Positions, Reading, report_of
from shared.broker.connect import connect
from shared.broker.contract import Broker, OffsetRange, TopicPartition
from shared.errors import TransientError
from shared.loopback import LOOPBACK_HOSTS
from shared.ops.tables.orders import FRESH_S
from shared.retry import Retry
from shared.settings.sections import Settings
from shared.topics import OUTBOX_CURSORS, OUTBOX_TOPICS, SERVICES

ADMIN_TIMEOUT_S = 3.0
Rows = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True)
class Replica:
    """What one replica of a service says of itself; stopped ones have no pid."""

    service: str
    replica: str | None
    pid: int | None
    admin_url: str | None
    state: str
    ready: bool
    lag_records: int | None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class Observer:
    """Looks on through connections of its own. For one thread."""

    def __init__(self, access: Access, settings: Settings, token: str, ready: Retry | None = None) -> None:
        """`ready`: how to wait for a broker that is not ready yet."""
        self._broker: Broker = connect(settings, access.owner().conninfo("headrace observe"), ready)
        self.record_count = self._broker.record_count()
        self._behind: dict[Done, tuple[int, int]] = {}
        self.connection: Rows = access.connect("headrace observe")
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {token}"}, timeout=ADMIN_TIMEOUT_S, trust_env=False
        )

    def close(self) -> None:
        self._http.close()
        self.connection.close()
        self._broker.close()

    def positions(self) -> Positions:
        """Raises TransientError while the broker is away, in whatever words: who only looks may always look again."""
        self._broker.probe()
        try:
            return self._look()
        except self._broker.client_errors as error:
            raise TransientError(f"Kafka does not say how far it is: {type(error).__name__}: {error}") from error

    def _look(self) -> Positions:
        done: dict[Done, int] = {}
        end: dict[TopicPartition, int] = {}
        for service, topics in HOPS:
            done |= {(service, tp): offset for tp, offset in self._broker.committed(service, topics).items()}
            end |= self._broker.end_offsets(self._partitions(topics))
        found = Positions(self._broker.begin_offsets(self._partitions(TOPICS)), end, done, self._outbox())
        return found.passed(self._nothing_left(found))

    def _nothing_left(self, found: Positions) -> list[Done]:
        """Where a service that has stood still since the last look has nothing to read before the end."""
        before, self._behind = self._behind, found.behind()
        spans = {who: OffsetRange(who[1], *at) for who, at in self._behind.items() if before.get(who) == at}
        empty = self.record_count.empty(set(spans.values()))
        return [who for who, span in spans.items() if span in empty]

    def _outbox(self) -> int:
        """Records that lie in the database and are not in Kafka yet. What is relayed is thrown away soon; a relay that
        died before that leaves it, and its cursors tell."""
        if not self._broker.has_outbox:
            return 0
        prefix = self._broker.table_prefix
        there = self.connection.execute(
            "SELECT t.name, part.p, part.begin_off, part.end_off FROM broker.partitions part"
            " JOIN broker.topics t ON t.id = part.topic_id WHERE t.name = ANY(%s) AND part.end_off > part.begin_off",
            ([prefix + topic for topic in OUTBOX_TOPICS],),
        ).fetchall()
        cursors = self._broker.cursors(OUTBOX_CURSORS) if there else {}
        return sum(
            max(0, end - max(begin, int(cursors.get(f"{name.removeprefix(prefix)}/{p}", b"0"))))
            for name, p, begin, end in there
        )

    def _partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        return [tp for topic in topics for tp in self._broker.partitions(topic)]

    def reading(self, exports: bool) -> Reading:
        """Without `exports` nobody writes CSV files."""
        fetcher = self.fetcher()
        positions = self.positions()
        open_days = "SELECT count(*) FROM facts.export_days WHERE touched > exported"
        due = "SELECT count(*) FROM notifier.ledger WHERE state IN ('pending', 'sending') AND due_at <= now()"
        return Reading(fetcher, positions, self._count(open_days) if exports else 0, self._count(due))

    def fetcher(self) -> FetcherReport | None:
        """From the fetcher itself, not from its row, which may lag behind; None while nobody answers."""
        for replica in replicas(self.connection):
            if replica.service == "fetcher" and replica.admin_url:
                try:
                    answer = self._http.get(f"{replica.admin_url}/v1/status").raise_for_status().json()
                except (httpx.HTTPError, ValueError):
                    return None
                return report_of(answer.get("detail", answer))
        return None

    def view_rows(self) -> dict[str, int]:
        """Rows of every view that people read; scores are left out, for they are computed from the others."""
        names = self.connection.execute(
            "SELECT table_name::text FROM information_schema.views"
            " WHERE table_schema = 'analytics' AND table_name <> 'prediction_scores' ORDER BY 1"
        ).fetchall()
        return {name: self._count(f'SELECT count(*) FROM analytics."{name}"') for (name,) in names}

    def told(self) -> int:
        return self._count("SELECT count(*) FROM notifier.ledger WHERE state = 'sent'")

    def predicted(self) -> int:
        return self._count("SELECT count(*) FROM facts.predictions")

    def _count(self, query: str) -> int:
        row = self.connection.execute(query).fetchone()
        return 0 if row is None else int(row[0])


def replicas(connection: Rows) -> list[Replica]:
    """Every service: its live replicas, or one line that says it is stopped."""
    rows = connection.execute(
        "SELECT service, replica, pid, admin_url, state, ready, lag_records FROM ops.replicas"
        " WHERE seen_at > now() - make_interval(secs => %s) ORDER BY service, replica",
        (FRESH_S,),
    ).fetchall()
    live = [replica for row in rows if _is_alive(replica := Replica(*row))]
    return with_stopped(live)


def held_back(connection: Rows) -> list[str]:
    """Services that hold a partition back until somebody looks at it, each with its cause."""
    return [
        f"{service}: {why}"
        for service, why in connection.execute(
            "SELECT service, detail ->> 'not_ready' FROM ops.replicas WHERE state = 'tripped'"
            " AND seen_at > now() - make_interval(secs => %s) ORDER BY 1, 2",
            (FRESH_S,),
        )
    ]


def with_stopped(live: list[Replica]) -> list[Replica]:
    return [
        replica
        for service in SERVICES
        for replica in [each for each in live if each.service == service]
        or [Replica(service, None, None, None, "stopped", False, None)]
    ]


def failed_windows(connection: Rows) -> list[Mapping[str, Any]]:
    """As the fetcher last wrote them into its row."""
    rows = connection.execute("SELECT detail FROM ops.replicas WHERE service = 'fetcher'").fetchall()
    return [failed for (detail,) in rows for failed in report_of(detail or {}).failed]


def event_statuses(connection: Rows) -> dict[str, int]:
    """Events by status, as people see it."""
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


def _is_alive(replica: Replica) -> bool:
    """A pid says something only about this machine."""
    if replica.state == "stopped":
        return False
    here = urlsplit(replica.admin_url or "").hostname in LOOPBACK_HOSTS
    return not here or (replica.pid is not None and _pid_exists(replica.pid))


def _pid_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's, but it is
        return True
    return True
