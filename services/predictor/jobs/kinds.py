"""Kinds of operations that need a process with torch: trainings, and promotions that compare models on stored facts.

Both are jobs (shared/runtime/jobs/workers.py): one replica claims each, and a replica that takes one over starts it
again from the beginning.
"""

from __future__ import annotations

from shared.database.connection import DbConnection
from shared.ops.operations import NotPossible

TRAINING, PROMOTION = "training", "promotion"


def require_no_open_training(connection: DbConnection, service: str) -> None:
    """Raises NotPossible if a training has not finished. A training takes a processor and much memory for minutes, so
    all replicas together run one at a time.

    Takes an advisory lock until the end of the transaction, so that no other training starts between check and start.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('headrace trainings'), hashtext(%s))", (service,))
    row = connection.execute(
        "SELECT id FROM ops.operations WHERE service = %s AND kind = %s AND finished_at IS NULL ORDER BY id LIMIT 1",
        (service, TRAINING),
    ).fetchone()
    if row is not None:
        raise NotPossible(f"operation {row[0]} is a training that has not finished: wait for it, or cancel it")
