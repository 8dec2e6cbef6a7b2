"""The wheel in an environment of its own, used from an empty folder: nothing of the checkout is needed."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.distribution.build import Distributions
from tests.distribution.clean_environment import environment_without, install
from tests.headrace.runs import DAYS, RACES, write_archive

pytestmark = pytest.mark.slow
Environment = dict[str, str]
# A deadline, not a measurement.
LIMIT_S = 1800.0


@pytest.fixture(scope="module")
def environment(
    repository: Path, distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    return environment_without(repository, install(distributions.wheel, tmp_path_factory.mktemp("venv") / "venv"))


def run(environment: Environment, folder: Path, *command: str) -> str:
    result = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_command_and_its_packages_are_the_installed_ones(
    repository: Path, tmp_path: Path, environment: Environment
) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    code = "import headrace, services, shared, simulator as s; print(headrace, services, shared, s)"

    assert run(environment, tmp_path, "headrace", "--version") == f"{project['version']}\n"
    assert str(repository) not in run(environment, tmp_path, "python", "-c", code)


def test_a_run_needs_nothing_but_the_wheel(tmp_path: Path, environment: Environment) -> None:
    write_archive(tmp_path / "archive")

    command = ["headrace", "run", "--source", "archive", "--archive", "archive", "--once", "--json"]
    output = run(environment, tmp_path, *command, "--from", str(DAYS[0]), "--to", str(DAYS[-1]))

    summary = json.loads(output.splitlines()[-1])
    assert (summary["views"]["events"], summary["dead_letters"]) == (len(DAYS) * RACES, 0)
    assert run(environment, tmp_path, "headrace", "sql", "select count(*) from events", "--csv").split()[-1] == "24"


@pytest.mark.skipif(os.environ.get("HEADRACE_DEMONSTRATION") != "1", reason="only with `make dist-test`")
def test_the_demonstration_runs_to_its_end(tmp_path: Path, environment: Environment) -> None:
    summary = json.loads(run(environment, tmp_path, "headrace", "run", "--json").splitlines()[-1])

    assert summary["views"]["predictions"] > 0
    assert set(summary["scores"]) == {"card", "observation"}
