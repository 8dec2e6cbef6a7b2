"""A process that runs a redrive, for tests to kill: python -m ...redriver CONFIG_FILE OPERATION WORKER UNITS

After UNITS commits, before the letters of the last one are settled, it prints "stuck" and waits to be killed.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shared.broker.contract import Record
from shared.database.connection import ReconnectingConnection
from shared.ops.operations import Operation
from shared.runtime.jobs.cursor import JobCursor
from shared.runtime.jobs.job_lease import JobLease
from shared.runtime.jobs.loop import JobLoop
from shared.runtime.jobs.redrive import RedriveRun
from shared.runtime.metrics import Metrics
from tests.contract.child import open_broker_of, print_line


def run_redrive(config_file: Path, operation_id: str, worker: str, units: int) -> None:
    conninfo = json.loads(config_file.read_text())["conninfo"]
    broker, link = open_broker_of(config_file), ReconnectingConnection(conninfo, "redriver", autocommit=True)
    lease = JobLease(conninfo, operation_id, worker)
    operation = lease.operation()
    assert isinstance(operation, Operation)
    job = RedriveRun(operation, broker, link, Metrics()).job(unit_records=1)
    committed: list[Record] = []

    def on_commit(cursor: JobCursor, records: Sequence[Record]) -> None:
        committed.extend(records)
        if len(committed) >= units:
            print_line("stuck")
            signal.pause()
        job.on_commit(cursor, records)

    JobLoop(broker, lease, replace(job, on_commit=on_commit)).run()


if __name__ == "__main__":
    run_redrive(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
