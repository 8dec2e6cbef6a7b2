"""What a run suggests to try next."""

from __future__ import annotations

import shlex
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from headrace.run.suggestions import after_a_demonstration, after_a_run, command_name

DAY = date(2026, 3, 2)
EVENT = "simulator:2026-03-02:21:10"


def test_the_data_directory_is_named_unless_it_is_the_default(tmp_path: Path) -> None:
    named = [line for each in after_a_run("headrace", tmp_path / "my data") for line in each.commands]
    default = [line for each in after_a_run("headrace", Path.cwd() / ".headrace") for line in each.commands]

    assert all("--data-dir" in line and str(tmp_path / "my data") in shlex.split(line) for line in named)
    assert not any("--data-dir" in line for line in default)


def test_a_day_without_a_judged_prediction_has_no_surprise_to_look_at() -> None:
    assert len(after_a_demonstration("headrace", Path("/d"), DAY, EVENT)) == 3
    assert len(after_a_demonstration("headrace", Path("/d"), DAY, None)) == 2


@pytest.mark.parametrize(
    "line",
    [
        command
        for each in (*after_a_run("headrace", Path("/d")), *after_a_demonstration("headrace", Path("/d"), DAY, EVENT))
        for command in each.commands
    ],
)
def test_every_suggested_command_and_option_exists(line: str) -> None:
    _, name, *words = shlex.split(line)
    nested = words[:1] if name == "topics" else []

    shown = subprocess.run(
        [sys.executable, "-m", "headrace", name, *nested, "--help"], capture_output=True, text=True, check=True
    ).stdout

    assert all(f" {word}" in shown for word in words if word.startswith("--"))


def test_the_command_is_written_as_it_can_be_typed_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed = tmp_path / ".venv" / "bin" / "headrace"
    installed.parent.mkdir(parents=True)
    installed.touch()
    monkeypatch.setattr(sys, "executable", str(installed.with_name("python")))

    assert command_name() == str(installed)
    monkeypatch.chdir(tmp_path)
    assert command_name() == ".venv/bin/headrace"
    installed.unlink()
    assert command_name() == "headrace"


def test_a_command_on_the_path_is_written_without_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As pipx installs it: the program is a link to the one in the environment."""
    installed, linked = tmp_path / "venv" / "bin" / "headrace", tmp_path / "bin" / "headrace"
    for program in (installed, linked):
        program.parent.mkdir(parents=True)
    installed.touch(mode=0o755)
    linked.symlink_to(installed)
    monkeypatch.setattr(sys, "executable", str(installed.with_name("python")))

    monkeypatch.setenv("PATH", str(linked.parent))
    assert command_name() == "headrace"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command_name() == str(installed)
