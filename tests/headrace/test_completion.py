"""The shell's completion of commands, services and topics."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_until

HEAVY = {"fastapi", "lightgbm", "matplotlib", "numpy", "pandas", "pyarrow", "torch", "uvicorn"}
PROGRAM = Path(sys.executable).with_name("headrace")


def completions(line: str) -> list[str]:
    """What the program offers a bash for the last word of a line."""
    variables = {"_HEADRACE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    result = subprocess.run([PROGRAM], env={**os.environ, **variables}, capture_output=True, text=True, check=True)
    return result.stdout.split()


def loaded_packages(line: str) -> set[str]:
    """Modules that the program imports to complete the last word of a line."""
    variables = {"_HEADRACE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    command = [sys.executable, "-X", "importtime", str(PROGRAM)]
    result = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
    modules = {text.split("|")[-1].strip() for text in result.stderr.splitlines() if text.startswith("import time:")}
    assert "headrace.cli" in modules
    return modules


@contextmanager
def interactive_bash(home: Path) -> Iterator[int]:
    """The terminal of a bash that reads no start-up files and finds `headrace`."""
    terminal, child_end = pty.openpty()
    environment = {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "HOME": str(home), "TERM": "dumb"}
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=child_end,
        stdout=child_end,
        stderr=child_end,
        env=environment,
        start_new_session=True,
    )
    os.close(child_end)
    try:
        yield terminal
    finally:
        shell.kill()
        shell.wait()
        os.close(terminal)


def type_and_wait(terminal: int, text: str, expected: str) -> None:
    """Type a text and wait until the terminal shows another one."""
    shown = ""
    os.write(terminal, text.encode())

    def is_shown() -> bool:
        nonlocal shown
        if select.select([terminal], [], [], 0)[0]:
            shown += os.read(terminal, 1 << 16).decode()
        return expected in shown

    wait_until(is_shown, f"{expected!r} after {text!r} in a terminal")


def test_bash_completes_commands_services_and_topics(tmp_path: Path) -> None:
    with interactive_bash(tmp_path) as terminal:
        type_and_wait(terminal, 'eval "$(headrace --show-completion)"; echo is-$((1+1))\n', "is-2")

        type_and_wait(terminal, "headrace pau\t", "headrace pause ")
        type_and_wait(terminal, "clea\t", "cleaner ")
        type_and_wait(terminal, "raw\t", "raw-events ")


def test_topics_of_the_service_are_offered() -> None:
    assert completions("headrace pause cleaner ") == ["raw-events", "cleaner.retry"]
    assert completions("headrace replay predictor ") == ["loaded-events"]
    assert completions("headrace topics tail pre") == ["predictions", "predictor.dlq", "predictor.retry"]


def test_options_are_offered() -> None:
    assert completions("headrace replay --dr") == ["--dry-run"]


def test_names_of_commands_need_no_module_of_a_command() -> None:
    assert "status" in completions("headrace ")
    assert loaded_packages("headrace ") & {*HEAVY, "headrace.commands", "psycopg", "rich"} == set()


@pytest.mark.parametrize(
    "line", ["headrace pause cleaner ", "headrace status --", "headrace plot --", "headrace pack "]
)
def test_arguments_and_options_need_only_what_their_command_needs(line: str) -> None:
    assert loaded_packages(line) & HEAVY == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(shell: str) -> None:
    environment = {**os.environ, "_HEADRACE_COMPLETE": f"source_{shell}"}
    result = subprocess.run([PROGRAM], env=environment, capture_output=True, text=True, check=True)

    assert f"complete_{shell}" in result.stdout
    if program := shutil.which(shell):
        subprocess.run([program, "-n", "/dev/stdin"], input=result.stdout, text=True, check=True)
