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
# Processes start slowly on a machine that has much to do.
LIMIT_S = 60.0
WISH = {"seed": QUICK, "until": None, "validate_days": None, "promote": True}


def ordered(database: Database, kind: str = TRAINING, **changed: Any) -> str:
    target = (WISH if kind == TRAINING else {"reason": None}) | changed
    return operations_table.create(database, "predictor", kind, target, "token:night-shift", "").id


def row(database: Database, operation_id: str) -> Operation:
    found = operations_table.get(database, operation_id)
    assert found is not None
    return found


def over(database: Database, operation_id: str) -> Operation:
    wait_until(lambda: not row(database, operation_id).is_open, deadline_s=LIMIT_S)
    return row(database, operation_id)


def is_gone(pid: int) -> Callable[[], bool]:
    return lambda: not Path(f"/proc/{pid}").exists()
