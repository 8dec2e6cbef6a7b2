"""A PostgreSQL whose start lasts until the test releases it, because its recovery waits for a WAL file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg.pq import PGconn, Ping

from headrace.database.embedded import EmbeddedPostgres

LIMIT_S = 300.0
_START = "import sys, pathlib, headrace.database.embedded as e; e.EmbeddedPostgres(pathlib.Path(sys.argv[1])).start()"


@contextmanager
def recovering(server: EmbeddedPostgres, directory: Path) -> Iterator[Callable[[], None]]:
    """The server refuses connections until the function is called. The process that started it has been killed."""
    released = directory / "released"
    recovery = f"restore_command = 'while [ ! -e {released} ]; do sleep 0.05; done; exit 1'\nhot_standby = off\n"
    server.start()
    server.stop()
    with (server.pgdata / "postgresql.auto.conf").open("a") as settings:
        settings.write("wal_level = replica\n")
        settings.flush()
        server.start()  # WAL of a lower level cannot be recovered from an archive
        server.stop()
        settings.write(recovery)
    (server.pgdata / "recovery.signal").touch()
    starter = subprocess.Popen([sys.executable, "-c", _START, str(server.data_dir)], stderr=subprocess.DEVNULL)
    try:
        _wait_for(server, Ping.REJECT)
        starter.kill()
        starter.wait()
        yield released.touch
    finally:
        released.touch()
        _wait_for(server, Ping.OK)
        server.start()
        server.stop()


def _wait_for(server: EmbeddedPostgres, state: Ping) -> None:
    deadline = time.monotonic() + LIMIT_S
    while PGconn.ping(server.url().encode()) != state:
        assert time.monotonic() < deadline, f"the server did not reach the state {state.name}"
        time.sleep(0.02)
