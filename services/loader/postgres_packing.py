"""Packs predictions that were stored before migration 0008, in batches, beside the loader."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from shared.database.connection import DbConnection

FIRST = UUID(int=0)
# The trigger of the migration packs a row whose probabilities are set. A prediction without classes has no layout.
_PACK = """
WITH batch AS (
    SELECT record_id FROM facts.predictions
    WHERE record_id > %s AND layout IS NULL AND probabilities <> '[]'
    ORDER BY record_id LIMIT %s FOR UPDATE
), packed AS (
    UPDATE facts.predictions p SET probabilities = p.probabilities FROM batch b WHERE p.record_id = b.record_id
    RETURNING p.record_id
)
SELECT count(*), max(record_id::text) FROM packed
"""


class PackedBatch(NamedTuple):
    """`last`: the greatest record id of the batch; None: no prediction after the previous batch was left."""

    rows: int
    last: UUID | None


def pack_batch(connection: DbConnection, after: UUID, limit: int) -> PackedBatch:
    """Pack up to `limit` predictions with record ids above `after`, in one statement."""
    row = connection.execute(_PACK, (after, limit)).fetchone()
    rows, last = row if row is not None else (0, None)
    return PackedBatch(rows, None if last is None else UUID(last))
