"""Finds rows that refer to no row, and contradictions that one statement can find. Each query returns the key, what is
expected and what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from headrace.verification.inconsistency import EXPORT, RESTORE, Inconsistency
from services.loader.schema import ALL_TABLES
from shared.database.connection import DbConnection

_SKIP = "stop the services, and let the group continue elsewhere: headrace groups (docs/operations.md)"
_PARKED = "restart the loader; if it stays, restore a backup (headrace restore)"
_PACK = "headrace db pack-predictions after setting the row's layout to NULL"


class ConsistencyCheck(NamedTuple):
    """A query whose rows are inconsistencies: key, expected, actual."""

    table: str
    query: str
    remedy: str


def reference_checks() -> Iterator[ConsistencyCheck]:
    """One for each column that refers to another table."""
    for table in ALL_TABLES:
        for column, target in ((each.column, each.table) for each in table.foreign_keys):
            query = (
                f"SELECT concat_ws(' ', '{column}', t.{column}, 'of', left(to_jsonb(t)::text, 120)),"
                f" 'a row of facts.{target}', 'none'"
                f" FROM {table.qualified} t WHERE t.{column} IS NOT NULL"
                f" AND NOT EXISTS (SELECT FROM facts.{target} r WHERE r.id = t.{column})"
            )
            yield ConsistencyCheck(table.qualified, query, RESTORE)


CONTRADICTIONS = (
    ConsistencyCheck(
        "facts.parked",
        "SELECT p.record_id::text, 'released: ' || p.parent_key || ' is listed', 'parked'"
        " FROM facts.parked p JOIN facts.events e ON e.event_key = p.parent_key",
        _PARKED,
    ),
    ConsistencyCheck(
        "facts.predictions",
        "SELECT p.record_id::text, 'values of probabilities', 'other values in layout_values' FROM facts.predictions p"
        " WHERE p.layout IS NOT NULL AND p.layout_values IS DISTINCT FROM (SELECT"
        " array_agg((h ->> 'probability')::double precision) FROM jsonb_array_elements(p.probabilities) AS i(h))",
        _PACK,
    ),
    ConsistencyCheck(
        "facts.export_days",
        "SELECT s.name || ' ' || d.date, 'exported <= touched', 'exported ' || d.exported || ', touched ' || d.touched"
        " FROM facts.export_days d JOIN facts.sources s ON s.id = d.source_id WHERE d.exported > d.touched",
        EXPORT,
    ),
    ConsistencyCheck(
        "facts.export_days",
        "SELECT DISTINCT so.name || ' ' || s.date, 'a row', 'absent' FROM facts.sessions s"
        " JOIN facts.sources so ON so.id = s.source_id JOIN facts.events e ON e.session_id = s.id"
        " WHERE split_part(e.event_key, ':', 2) = s.date::text"
        " AND NOT EXISTS (SELECT FROM facts.export_days d WHERE d.source_id = s.source_id AND d.date = s.date)",
        "load an event of the day again, or insert the row",
    ),
    ConsistencyCheck(
        "broker.positions",
        "SELECT concat_ws(' ', pos.grp, t.name, pos.p), 'at most ' || part.end_off, pos.next_off::text"
        " FROM broker.positions pos JOIN broker.topics t ON t.id = pos.topic_id"
        " JOIN broker.partitions part ON part.topic_id = pos.topic_id AND part.p = pos.p"
        " WHERE pos.next_off > part.end_off AND (SELECT kind FROM broker.kind) = 'embedded'",
        _SKIP,
    ),
    ConsistencyCheck(
        "broker.log",
        "SELECT concat_ws(' ', name, p, base_off), 'offset ' || expected, 'offset ' || base_off FROM ("
        " SELECT t.name, l.p, l.base_off, lag(l.base_off + l.n) OVER (PARTITION BY l.topic_id, l.p ORDER BY l.base_off)"
        " AS expected FROM broker.log l JOIN broker.topics t ON t.id = l.topic_id WHERE NOT t.compacted) each"
        " WHERE base_off <> expected",
        RESTORE,
    ),
    ConsistencyCheck(
        "broker.partitions",
        "SELECT concat_ws(' ', t.name, part.p), 'end_off ' || log.end_off, 'end_off ' || part.end_off"
        " FROM broker.partitions part JOIN broker.topics t ON t.id = part.topic_id"
        " CROSS JOIN LATERAL (SELECT coalesce(max(l.base_off + l.n), part.begin_off) AS end_off FROM broker.log l"
        " WHERE l.topic_id = part.topic_id AND l.p = part.p) log WHERE NOT t.compacted AND log.end_off <> part.end_off",
        RESTORE,
    ),
    ConsistencyCheck(
        "broker.partitions",
        "SELECT concat_ws(' ', t.name, part.p), 'a batch at begin_off ' || part.begin_off, 'first batch at '"
        " || log.base_off FROM broker.partitions part JOIN broker.topics t ON t.id = part.topic_id"
        " CROSS JOIN LATERAL (SELECT min(l.base_off) AS base_off FROM broker.log l"
        " WHERE l.topic_id = part.topic_id AND l.p = part.p) log"
        " WHERE NOT t.compacted AND log.base_off > part.begin_off",
        RESTORE,
    ),
)


def contradictions(connection: DbConnection, advance: Callable[[int], object]) -> Iterator[Inconsistency]:
    """`advance` is called after each check."""
    for check in (*reference_checks(), *CONTRADICTIONS):
        for key, expected, actual in connection.execute(check.query.encode()).fetchall():
            yield Inconsistency(check.table, key, expected, actual, check.remedy)
        advance(1)


CHECK_COUNT = len([*reference_checks(), *CONTRADICTIONS])
