"""A minimal service for test_run.py. The variable BEHAVIOUR selects its behaviour."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from services.cleaner.settings import CleanerSettings
from shared.runtime.exit_codes import Background
from shared.runtime.metrics import Metrics
from shared.runtime.process.run import GRACE_S, launch, run
from shared.runtime.process.watchdog import HUNG_S
from tests.shared.runtime.views import GivenView


class SmallLoop:
    """Waits until it is stopped, then finishes its unit, unless the behaviour says otherwise."""

    def __init__(self, behaviour: str) -> None:
        self.ticked_at = 0.0
        self._behaviour = behaviour
        self._stop = threading.Event()

    def run(self) -> None:
        if self._behaviour == "crashes":
            raise RuntimeError("lost postgresql://me:hunter2@h/d")
        while self._behaviour == "ticks" and not self._stop.wait(0.01):
            self.ticked_at += 1
        self._stop.wait()
        if self._behaviour == "hangs":
            threading.Event().wait()
        Path("unit").write_text("finished")

    def stop(self) -> None:
        self._stop.set()


def exporter(stopping: threading.Event) -> None:
    stopping.wait()
    Path("export").write_text("finished")


def crashing_sender(stopping: threading.Event) -> None:
    raise RuntimeError("no channel")


def returning_sender(stopping: threading.Event) -> None:
    return


WORK: dict[str, list[Background]] = {
    "sender crashes": [exporter, crashing_sender],
    "sender returns": [returning_sender],
}


def start(settings: CleanerSettings) -> int:
    behaviour = os.environ["BEHAVIOUR"]
    if behaviour == "cannot start":
        raise RuntimeError("cannot connect")
    background = WORK.get(behaviour, [exporter])
    grace_s = 0.3 if behaviour == "hangs" else GRACE_S
    hung_s = {"ticks": 3.0, "gets stuck": 1.0}.get(behaviour, HUNG_S)
    return run(settings, SmallLoop(behaviour), GivenView("cleaner"), Metrics(), background, grace_s, hung_s)


if __name__ == "__main__":
    sys.exit(launch(CleanerSettings, start))
