"""docs/tutorial.md is true: each command succeeds, and prints what the document shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from headrace.progress.replicas import ReplicaStatus, replicas
from headrace.run.simulation import free_port
from tests.documents.tutorial import INTERRUPT, TUTORIAL, Step, shape, shows, steps
from tests.waiting import wait_until

ROOT = Path(__file__).parents[3]
PORT = "8600"
# The reader repeats it until it shows what the document shows.
REPEATED = ".venv/bin/headrace alerts"
END = "-- end of the output of a command, status "


class Terminal:
    """One shell for all commands, as a person has it; a second process for the command of the second terminal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_paused = False
        self.other: subprocess.Popen[bytes] | None = None
        self.other_log = folder / "second-terminal.log"
        environment = {name: text for name, text in os.environ.items() if not name.startswith("HEADRACE_")}
        self.environment = environment | {"COLUMNS": "100", "PYTHONUNBUFFERED": "1"}
        self.shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[list[str], int]:
        """The lines that the command prints, and its exit status."""
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        self.shell.stdin.write(f"{command}\necho '{END}'$?\n")
        self.shell.stdin.flush()
        lines = list[str]()
        for line in self.shell.stdout:
            if line.startswith(END):
                return lines, int(line.removeprefix(END))
            lines.append(line.rstrip("\n"))
        raise AssertionError(f"the shell ended: {lines}")

    def start_other(self, command: str) -> None:
        with self.other_log.open("ab") as log:
            self.other = subprocess.Popen(
                ["bash", "-c", f"exec env {command}"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self.is_idle, forgive=(psycopg.Error, httpx2.TransportError))

    def stop_other(self) -> None:
        assert self.other is not None
        self.other.send_signal(signal.SIGINT)
        assert self.other.wait() == 128 + signal.SIGINT, self.other_log.read_text()
        self.other = None

    def is_idle(self) -> bool:
        """Whether all services of the second terminal's run are up and have handled what there is."""
        assert self.other is not None
        assert self.other.poll() is None, self.other_log.read_text()
        services = self._replicas()
        if len(services) != 5 or not all(each.ready and not each.lag_records for each in services):
            return False
        fetcher = next(each.admin_url for each in services if each.service == "fetcher")
        token = (self.folder / ".headrace" / "token").read_text().strip()
        status = httpx2.get(f"{fetcher}/v1/status", headers={"Authorization": f"Bearer {token}"}).json()
        return bool(status["detail"]["windows"].get("due") == 0)

    def _replicas(self) -> list[ReplicaStatus]:
        """Read from the database: a `headrace status` for each look would slow the pipeline down."""
        server = EmbeddedPostgres(self.folder / ".headrace")
        if not server.accepts_connections():
            return []
        with psycopg.connect(server.url_with_password()) as connection:
            return replicas(connection)

    def close(self) -> None:
        if self.other is not None:
            self.other.kill()
            self.other.wait()
        os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.communicate()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """In a folder that has what `make run` needs of the project's."""
    (tmp_path / "Makefile").symlink_to(ROOT / "Makefile")
    # Older than the environment, whatever the project's file is: make must not install this folder into it.
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    os.utime(tmp_path / "pyproject.toml", (0, 0))
    (tmp_path / ".venv").symlink_to(Path(sys.prefix))
    assert (tmp_path / ".venv" / ".installed").exists(), "run `make setup` first"
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.close()


def follow(terminal: Terminal, step: Step, port: str) -> None:
    command = step.command.replace(PORT, port)
    if step.in_second_terminal:
        terminal.stop_other() if command == INTERRUPT else terminal.start_other(command)
        return
    if terminal.other is not None and not terminal.is_paused:
        wait_until(terminal.is_idle, forgive=(psycopg.Error, httpx2.TransportError))
    if command == REPEATED:
        wait_until(lambda: shows(step.output, terminal.run(command)[0]), f"{command} shows an alert")
    lines, status = terminal.run(command)
    print("$", command, *lines, sep="\n")
    assert status == 0, f"{command}\n" + "\n".join(lines)
    assert shows(step.output, lines), f"{command} prints another output than {TUTORIAL.name} shows"
    terminal.is_paused = (terminal.is_paused or " pause " in command) and " resume " not in command


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_tutorial_can_be_followed(terminal: Terminal) -> None:
    port = str(free_port())

    for step in steps(TUTORIAL.read_text(encoding="utf-8")):
        follow(terminal, step, port)


def test_outputs_are_compared_by_their_shape() -> None:
    shown = ["at 10:31 4 records", "...", "done"]

    assert shows(shown, ["at 9:05 1,204 records", "more", "lines", "done"])
    assert not shows(shown, ["at 9:05 1,204 rows", "done"])
    assert not shows(["done"], ["done", "and more"])
    assert shape("-------  ----  1.13") == shape("---------  ----  0.9")


def test_a_block_has_commands_and_outputs() -> None:
    text = "```console\n$ one\nfirst\n...\n$ two\n```\n\n```console second\n^C\n```\n"

    assert list(steps(text)) == [Step("one", ("first", "..."), False), Step("two", (), False), Step("^C", (), True)]
