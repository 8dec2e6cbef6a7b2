"""The walk-through of docs/adding-a-source.md is true: each command succeeds, and prints what the document shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.run.simulation import free_port
from tests.documents.tutorial import INTERRUPT, Step, shows, steps
from tests.waiting import DEADLINE_S, wait_until

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "adding-a-source.md"
PORT = "8610"
pytestmark = pytest.mark.long


class Terminals:
    """The reader's shell, and a second one in which the simulator runs."""

    def __init__(self, folder: Path) -> None:
        (folder / ".venv").symlink_to(Path(sys.prefix))
        self._folder = folder
        self._log = folder / "simulator.log"
        self._port = str(free_port())
        self._environment = {name: text for name, text in os.environ.items() if not name.startswith("HEADRACE_")}
        self._environment |= {"COLUMNS": "100", "PYTHONPATH": str(ROOT)}
        self._simulator: subprocess.Popen[bytes] | None = None

    def follow(self, step: Step) -> None:
        command = step.command.replace(PORT, self._port)
        if not step.in_second_terminal:
            shell, place = ["bash", "-c", command], self._folder
            run = subprocess.run(shell, cwd=place, env=self._environment, capture_output=True, text=True, check=False)
            assert run.returncode == 0, f"{command}\n{run.stdout}{run.stderr}"
            assert shows(step.output, run.stdout.splitlines()), f"{command}\n{run.stdout}"
        elif command == INTERRUPT:
            self.stop()
        else:
            self._start(command)

    def stop(self) -> None:
        if self._simulator is not None:
            self._simulator.send_signal(signal.SIGINT)
            assert self._simulator.wait(DEADLINE_S) == 0, self._log.read_text()
            self._simulator = None

    def _start(self, command: str) -> None:
        with self._log.open("wb") as log:
            self._simulator = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self._folder, env=self._environment, stdout=log, stderr=log
            )
        wait_until(lambda: "simulator: http" in self._log.read_text(), "the simulator listens")


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    terminals = Terminals(tmp_path)
    yield terminals
    terminals.stop()


def test_the_walk_through_can_be_followed(terminals: Terminals, tmp_path: Path) -> None:
    walk = list(steps(DOCUMENT.read_text()))

    for step in walk:
        terminals.follow(step)

    assert len([step for step in walk if " simulate " in step.command]) == 2
    assert len(list((tmp_path / "try" / "archive" / "rejected").iterdir())) > 0
