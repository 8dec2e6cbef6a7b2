"""Jobs as rows of ops.operations, and the processes that work on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from services.predictor.jobs.kinds import TRAINING
from shared.ops.operations import Operation
from shared.ops.tables import operations as operations_table
from tests.services.predictor.trainer import QUICK
from tests.waiting import wait_until

Database = psycopg.Connection[Any]
# Processes start slowly on a busy machine.
LIMIT_S = 60.0
REQUEST = {"seed": QUICK, "until": None, "validate_days": None, "promote": True}


def create_operation(database: Database, kind: str = TRAINING, **changes: Any) -> str:
    target = (REQUEST if kind == TRAINING else {"reason": None}) | changes
    return operations_table.create(database, "predictor", kind, target, "token:night-shift", "").id


def row(database: Database, operation_id: str) -> Operation:
    operation = operations_table.get(database, operation_id)
    assert operation is not None
    return operation


def wait_for_end(database: Database, operation_id: str) -> Operation:
    wait_until(lambda: not row(database, operation_id).is_open, deadline_s=LIMIT_S)
    return row(database, operation_id)


def is_gone(pid: int) -> Callable[[], bool]:
    return lambda: not Path(f"/proc/{pid}").exists()
