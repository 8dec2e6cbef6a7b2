"""What a process with torch is asked for, as operations: trainings, and promotions that have to look at stored facts.

Both are jobs (shared/runtime/jobs/workers.py): one replica claims each, and whoever takes one up starts it over.
"""

from __future__ import annotations

from shared.database.connection import DbConnection
from shared.ops.operations import NotPossible

TRAINING, PROMOTION = "training", "promotion"


def require_alone(connection: DbConnection, service: str) -> None:
    """A training takes a processor and its memory for minutes: one at a time, of all replicas. Raises NotPossible.

    Looking and starting are one step, whoever else starts one.
    """
    connection.execute("SELECT pg_advisory_xact_lock(hashtext('headrace trainings'), hashtext(%s))", (service,))
    found = connection.execute(
        "SELECT id FROM ops.operations WHERE service = %s AND kind = %s AND finished_at IS NULL ORDER BY id LIMIT 1",
        (service, TRAINING),
    ).fetchone()
    if found is not None:
        raise NotPossible(f"operation {found[0]} is a training that is not over: wait until it is, or cancel it")
