"""A PostgreSQL that starts for as long as the test needs: it recovers from an archive whose next file does not come."""

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
    """It refuses everybody until the function is called. Who started it was killed meanwhile."""
    released = directory / "released"
    recovery = f"restore_command = 'while [ ! -e {released} ]; do sleep 0.05; done; exit 1'\nhot_standby = off\n"
    server.start()
    server.stop()
    with (server.pgdata / "postgresql.auto.conf").open("a") as settings:
        settings.write("wal_level = replica\n")
        settings.flush()
        server.start()  # what is written under a lower level cannot be recovered from an archive
        server.stop()
        settings.write(recovery)
    (server.pgdata / "recovery.signal").touch()
    starter = subprocess.Popen([sys.executable, "-c", _START, str(server.data_dir)], stderr=subprocess.DEVNULL)
    try:
        _await(server, Ping.REJECT)
        starter.kill()
        starter.wait()
        yield released.touch
    finally:
        released.touch()
        _await(server, Ping.OK)
        server.start()
        server.stop()


def _await(server: EmbeddedPostgres, state: Ping) -> None:
    deadline = time.monotonic() + LIMIT_S
    while PGconn.ping(server.url().encode()) != state:
        assert time.monotonic() < deadline, f"the server is not at {state.name}"
        time.sleep(0.02)
