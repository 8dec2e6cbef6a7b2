"""The Makefile: its help, its error messages for missing requirements, and its variables."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

TARGETS = {"help", "setup", "run", "test", "test-quick", "lint", "bench", "bench-broker", "clean"}


def make(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_is_the_default_and_has_one_line_for_each_target(repository: Path) -> None:
    result = make(repository)

    lines = result.stdout.splitlines()
    assert result.returncode == 0
    makefile = (repository / "Makefile").read_text().replace("\\\n", " ")
    [phony] = [line for line in makefile.splitlines() if line.startswith(".PHONY:")]
    assert [line.split()[1] for line in lines] == phony.split()[1:]
    assert set(phony.split()) >= TARGETS
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (("PYTHON=",), "no Python 3.11 or later found"),
        (("NEEDED_MB=999999999",), "MB are free here and the environment needs 999999999"),
    ],
)
def test_a_missing_requirement_is_reported_in_one_line(
    repository: Path, tmp_path: Path, variables: tuple[str, ...], message: str
) -> None:
    result = make(repository, "setup", f"VENV={tmp_path / 'venv'}", *variables)

    errors = [line for line in result.stderr.splitlines() if line.startswith("make: ") and "***" not in line]
    assert result.returncode == 2
    assert len(errors) == 1
    assert message in errors[0]
    assert not (tmp_path / "venv").exists()


def test_variables_of_make_become_options_of_the_command(repository: Path, tmp_path: Path) -> None:
    stamp = tmp_path / ".installed"
    stamp.touch()

    result = make(
        repository,
        "-n",
        "run",
        f"STAMP={stamp}",
        "SOURCE=archive",
        "ARCHIVE=some dir",
        "FROM=2026-01-31",
        "TO=2026-02-01",
    )

    line = " ".join(result.stdout.split())
    assert '--source "archive" --archive "some dir"' in line
    assert '--from "2026-01-31" --to "2026-02-01" --once' in line.replace("\\ ", "")
