"""Claims sent messages whose rows have changed since, for channels that can edit them.

`version` of a row is raised when its text or content changes; `shown_version` is the one that the channel shows. Of a
sent row, `due_at` is the time from which it may be edited, and the lease of its editor. An edit can be repeated, so it
needs no further state.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from services.notifier.findings.outcomes import TipOutcome
from services.notifier.storage.postgres_claims import (
    CLAIMED,
    COLUMNS,
    OF_KIND,
    WITH_ITS_GROUP,
    Claims,
    cut,
    mark,
    read_claims,
)
from shared.database.connection import DbConnection

CLAIM_EDIT = f"""
WITH lead AS MATERIALIZED (
    SELECT id, group_id FROM notifier.ledger
    WHERE {OF_KIND} AND state = 'sent' AND version > shown_version AND external_id IS NOT NULL
      AND due_at <= clock_timestamp() AND channel <> ALL(%(paused)s)
    ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
)
UPDATE notifier.ledger SET due_at = clock_timestamp() + make_interval(secs => %(lease_s)s)
FROM lead WHERE {WITH_ITS_GROUP} AND ledger.state = 'sent'
RETURNING {COLUMNS}"""
EDITED = f"""
UPDATE notifier.ledger SET shown_version = claim.version, due_at = clock_timestamp()
{CLAIMED} AND state = 'sent'"""
EDIT_REFUSED = f"""
UPDATE notifier.ledger SET shown_version = claim.version, due_at = clock_timestamp(), error = %(error)s
{CLAIMED} AND state = 'sent'"""
EDIT_DELAYED = f"""
UPDATE notifier.ledger SET due_at = clock_timestamp() + make_interval(secs => %(delay_s)s)
{CLAIMED} AND state = 'sent'"""


# A corrected result replaces the line of the earlier one.
SHOW_OUTCOME = r"""
UPDATE notifier.ledger SET text = edited.text, version = version + 1,
       content = coalesce(ledger.content, '{}') || jsonb_build_object('colour', edited.colour)
FROM (
    SELECT l.id, regexp_replace(l.text, E'\n\\*\\*Result\\*\\*[^\n]*$', '') || E'\n' || o.line AS text, o.colour
    FROM unnest(%(record_ids)s::uuid[], %(lines)s::text[], %(colours)s::text[]) AS o (record_id, line, colour)
    JOIN notifier.ledger l ON l.record_id = o.record_id
    WHERE l.state = 'sent' AND l.external_id IS NOT NULL AND split_part(l.channel, '/', 1) = ANY(%(kinds)s)
) edited
WHERE ledger.id = edited.id AND ledger.text <> edited.text"""


def show_outcomes(connection: DbConnection, kinds: Collection[str], outcomes: Sequence[TipOutcome]) -> int:
    """Add the outcome to the sent tips on channels of these kinds; returns the number of changed rows."""
    if not outcomes:
        return 0
    record_ids, lines, colours = (list(column) for column in zip(*outcomes, strict=True))
    values = {"record_ids": record_ids, "lines": lines, "colours": colours, "kinds": list(kinds)}
    return connection.execute(SHOW_OUTCOME, values).rowcount


def claim_edit(connection: DbConnection, kind: str, lease_s: float, paused: Collection[str] = ()) -> Claims:
    """Claim a sent message whose rows have changed since, for `lease_s` seconds; empty if there is none.

    None of `paused` addresses.
    """
    return read_claims(connection, CLAIM_EDIT, {"kind": kind, "lease_s": lease_s, "paused": list(paused)})


def mark_edited(connection: DbConnection, claims: Claims) -> bool:
    return mark(connection, EDITED, claims)


def refuse_edit(connection: DbConnection, claims: Claims, reason: str) -> bool:
    """The channel does not show this version and will not; later versions are tried."""
    return mark(connection, EDIT_REFUSED, claims, error=cut(reason))


def delay_edit(connection: DbConnection, claims: Claims, delay_s: float) -> bool:
    return mark(connection, EDIT_DELAYED, claims, delay_s=delay_s)
