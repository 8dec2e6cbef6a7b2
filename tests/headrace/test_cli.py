"""The command line as a whole: exit codes, errors in one line, the installed program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headrace.cli import command


def test_a_read_only_command_without_data_says_what_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    absent = str(tmp_path / "nothing")

    assert command(["sql", "select 1", "--data-dir", absent]) == 2
    assert command(["db", "uri", "--data-dir", absent]) == 2
    assert command(["status", "--data-dir", absent]) == 0

    assert capfd.readouterr().err.count("`headrace run` makes one") == 2
    assert not Path(absent).exists()


@pytest.mark.parametrize("arguments", [["sttus"], ["run", "--bogus"], ["status", "--output", "yaml"], ["sql"], ["db"]])
def test_invalid_arguments_exit_with_2_and_no_traceback(
    arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(arguments) == 2

    assert "Traceback" not in capfd.readouterr().err


def test_the_command_is_installed() -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("headrace"), "--help"], capture_output=True, text=True, check=False
    )

    assert result.returncode == 0
    assert "status" in result.stdout
