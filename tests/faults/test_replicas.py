"""Which replicas did not end in order: their notifiers may have left a message without a decision."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from headrace.processes.supervisor import Program
from tests.faults.replicas import Replicas
from tests.waiting import DEADLINE_S, wait_until

# Ends with exit code 0 at SIGTERM, once its file exists.
IN_ORDER = "trap 'exit 0' TERM; : > {ready}; while :; do sleep 0.02; done"


def program(folder: Path, name: str) -> Program:
    return Program(name, ("/bin/sh", "-c", IN_ORDER.format(ready=folder / name)), folder / f"{name}.log")


def test_a_replica_that_was_killed_is_cut_short_also_if_nobody_saw_it_before_the_stop(tmp_path: Path) -> None:
    replicas = Replicas()
    replicas.start([program(tmp_path, name) for name in ("notifier-0", "notifier-1", "loader-0")])
    wait_until(lambda: all((tmp_path / child.program.name).exists() for child in replicas.children), "all programs")
    seen, unseen, _ = replicas.children
    assert seen.process is not None
    assert unseen.process is not None
    os.kill(seen.process.pid, signal.SIGKILL)
    seen.process.wait(DEADLINE_S)
    (tmp_path / "notifier-0").unlink()
    replicas.step()
    seen.restart_at_s = 0.0  # without the pause
    replicas.step()
    wait_until((tmp_path / "notifier-0").exists, "a restart")
    os.kill(unseen.process.pid, signal.SIGKILL)

    replicas.stop()

    assert replicas.deaths["notifier-0"] == 1
    assert replicas.cut_short == {"notifier-0": 1, "notifier-1": 1}


def test_replicas_of_one_service_are_suspended_until_they_are_resumed(tmp_path: Path) -> None:
    replicas = Replicas()
    replicas.start([program(tmp_path, name) for name in ("notifier-0", "loader-0")])
    wait_until(lambda: all((tmp_path / child.program.name).exists() for child in replicas.children), "all programs")
    notifier, loader = replicas.children
    try:
        replicas.suspend(["notifier"])
        replicas.step()
        assert notifier.process is None
        assert loader.process is not None

        replicas.resume()
        replicas.step()

        assert notifier.process is not None
        assert replicas.cut_short == {}
    finally:
        replicas.stop()
