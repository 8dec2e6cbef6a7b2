"""Commands that need the packages of an extra report in one line that they are missing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from headrace.terminal.extras import MODULES

WITHOUT_MODULE = """
import sys
sys.modules[sys.argv[1]] = None
from headrace.cli import command
sys.exit(command(sys.argv[2:]))
"""
# Distributions whose module has another name.
MODULE_NAMES = {"discord.py": "discord", "adbc-driver-postgresql": "adbc_driver_postgresql"}
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


def test_the_required_modules_are_those_of_the_extras(repository: Path) -> None:
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    for extra, modules in MODULES.items():
        names = [re.split(r"[<=>]", each)[0] for each in extras[extra]]
        own = [name for name in names if not name.startswith("headrace[")]
        assert {MODULE_NAMES.get(name, name) for name in own} == set(modules)


@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [
        ("torch", "predictor", ["train"]),
        ("torch", "predictor", ["backtest", *DAYS, "--archive", ".", "--out", "predictions.csv"]),
        ("discord", "all", ["run"]),
        ("aiohttp", "simulator", ["simulate"]),
    ],
)
def test_without_the_packages_one_line_says_what_to_install(
    module: str, extra: str, arguments: list[str], tmp_path: Path, repository: Path
) -> None:
    command = [sys.executable, "-c", WITHOUT_MODULE, module, *arguments, "--data-dir", str(tmp_path / "data")]

    result = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, env={"PYTHONPATH": str(repository)}
    )

    assert result.returncode == 2
    expected = rf"headrace: .* not installed here: {module}\. Install headrace\[{extra}\]\n"
    assert re.fullmatch(expected, result.stderr)
    assert not (tmp_path / "data").exists()
