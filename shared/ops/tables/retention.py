"""Deletes old rows (shared/ops/retention.py), a bounded number in each statement."""

from __future__ import annotations

from shared.database.connection import DbConnection
from shared.ops.retention import AgedRows

# Rows of one statement: some milliseconds.
MAX_ROWS = 5000
# One process deletes at a time; the others skip their turn.
_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('headrace row retention'), hashtext(%s))"
_EXPIRED = "FROM {table} aged WHERE {at} < clock_timestamp() - make_interval(secs => %(retention_s)s) AND {condition}"
_DELETE = "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT aged.ctid {expired} LIMIT %(limit)s))"
_OLDEST = "SELECT extract(epoch FROM clock_timestamp() - min({at})) - %(retention_s)s {expired}"


def delete_expired(connection: DbConnection, rows: AgedRows, limit: int = MAX_ROWS) -> int:
    """Delete at most `limit` rows; returns their number. Does nothing while another process deletes of this table."""
    with connection.transaction():
        if connection.execute(_LOCK, (rows.table,)).fetchone() != (True,):
            return 0
        values = {"retention_s": rows.retention.total_seconds(), "limit": limit}
        return connection.execute(_sql(_DELETE, rows).encode(), values).rowcount


def overdue_s(connection: DbConnection, rows: AgedRows) -> float:
    """For how long the oldest row should have been deleted, in seconds; 0 if there is none."""
    row = connection.execute(_sql(_OLDEST, rows).encode(), {"retention_s": rows.retention.total_seconds()}).fetchone()
    return 0.0 if row is None or row[0] is None else float(row[0])


def _sql(template: str, rows: AgedRows) -> str:
    expired = _EXPIRED.format(table=rows.table, at=rows.at, condition=rows.condition)
    return template.format(table=rows.table, at=rows.at, expired=expired)
