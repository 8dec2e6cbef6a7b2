"""Commands that need the predictor's packages report in one line that they are missing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from headrace.terminal import predictor_extra

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from headrace.cli import command
sys.exit(command(sys.argv[1:]))
"""
DAYS = [
    "--train-to",
    "2026-01-01",
    "--validate-to",
    "2026-01-02",
    "--test-from",
    "2026-01-03",
    "--test-to",
    "2026-01-03",
]


def test_the_required_packages_are_those_of_the_extra(repository: Path) -> None:
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert {re.split(r"[<=>]", each)[0] for each in extras["predictor"]} == set(predictor_extra.PREDICTOR_PACKAGES)


@pytest.mark.parametrize("arguments", [["train"], ["backtest", *DAYS, "--archive", ".", "--out", "predictions.csv"]])
def test_without_the_packages_one_line_says_what_to_install(
    arguments: list[str], tmp_path: Path, repository: Path
) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments, "--data-dir", str(tmp_path / "data")]

    result = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(repository)}
    )

    assert result.returncode == 2
    assert re.fullmatch(r"headrace: .* not installed here: torch\. Install headrace\[predictor\]\n", result.stderr)
    assert not (tmp_path / "data").exists()
