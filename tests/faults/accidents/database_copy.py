"""Copies the directory of a running PostgreSQL, and replaces the running one by the copy.

While all its processes are stopped, the files are those that a crash would leave: PostgreSQL recovers from them to the
last commit before the copy. This is a standby that lacks the later commits.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headrace.database.embedded import EmbeddedPostgres
from tests.waiting import wait_until

# It names the process of the copied server, and its log is evidence.
COPY_LIMIT_S = 120.0
NOT_COPIED = ("postmaster.pid", "server.log")


def copy_running(server: EmbeddedPostgres, target: Path) -> None:
    """The server makes no progress meanwhile; its clients wait."""
    with _frozen(server):
        subprocess.run(["cp", "-a", str(server.pgdata), str(target)], check=True, timeout=COPY_LIMIT_S)
    for name in NOT_COPIED:
        (target / name).unlink(missing_ok=True)


def lose(server: EmbeddedPostgres) -> None:
    """Kill all processes of the server at once, as if its machine were gone."""
    pids = _processes(server)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(_state(pid) not in {"", "Z"} for pid in pids), "the end of the server's processes")


def replace(server: EmbeddedPostgres, copy: Path) -> None:
    """Replace the content of the directory, which may be a mount point. The server must not run."""
    for each in server.pgdata.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        elif each.name != "server.log":
            each.unlink()
    subprocess.run(["cp", "-a", f"{copy}/.", str(server.pgdata)], check=True, timeout=COPY_LIMIT_S)


@contextmanager
def _frozen(server: EmbeddedPostgres) -> Iterator[None]:
    stopped: list[int] = []
    try:
        # The postmaster first, so that no process is new.
        while new := [pid for pid in _processes(server) if pid not in stopped]:
            for pid in new:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            stopped += new
        wait_until(lambda: all(_state(pid) in {"", "T", "Z"} for pid in stopped), "a server that stands still")
        yield
    finally:
        for pid in reversed(stopped):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _processes(server: EmbeddedPostgres) -> list[int]:
    """The postmaster, and its children."""
    pid = server.pid()
    assert pid is not None, "the database is not running"
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def _state(pid: int) -> str:
    """The letter of the process's state; empty if it does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
