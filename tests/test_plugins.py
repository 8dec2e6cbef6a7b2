"""The pytest plugins of this suite, applied to small suites: marks, order, and skips that are failures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

INI = """[pytest]
addopts = --strict-markers -p tests.selection -p tests.skips
markers =
    kafka
    containers
    recorded
    slow
    long
"""
SKIPPED = """
import pytest

@pytest.fixture
def kafka():
    pytest.skip("there is no java")

def test_on_kafka(kafka): ...

@pytest.mark.recorded
def test_of_recorded_days():
    pytest.skip("no recorded days")

@pytest.mark.containers
def test_of_compose():
    pytest.skip("no compose client")
"""
THREE_TESTS = "def test_1(): ...\ndef test_2(): ...\ndef test_3(): ...\n"


def run_pytest(directory: Path, repository: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    (directory / "pytest.ini").write_text(INI)
    outside = {name: value for name, value in os.environ.items() if name not in {"CI", "HEADRACE_ALLOW_SKIPS"}}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    environment = outside | {"PYTHONPATH": str(repository), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | environ
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("environ", "failures"),
    [
        ({}, 0),
        ({"CI": "true"}, 2),
        ({"CI": "true", "HEADRACE_ALLOW_SKIPS": "kafka"}, 1),
        ({"CI": "true", "HEADRACE_ALLOW_SKIPS": "kafka, compose"}, 0),
    ],
)
def test_a_skip_that_is_not_allowed_is_a_failure_under_ci(
    environ: dict[str, str], failures: int, tmp_path: Path, repository: Path
) -> None:
    (tmp_path / "test_it.py").write_text(SKIPPED)

    result = run_pytest(tmp_path, repository, **environ)

    assert result.returncode == bool(failures)
    assert result.stdout.count("Under CI this is a failure") >= failures
    assert f"{3 - failures} skipped" in result.stdout


def test_a_summary_names_skipped_tests_and_their_reasons(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "test_it.py").write_text(SKIPPED)

    output = run_pytest(tmp_path, repository).stdout

    for mark, reason in (("kafka", "there is no java"), ("recorded", "no recorded days")):
        assert f"NOT TESTED: {mark}" in output
        assert f"1 tests: {reason}" in output


def test_a_test_that_uses_kafka_is_marked_automatically(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "test_it.py").write_text(SKIPPED)

    assert "1 skipped, 2 deselected" in run_pytest(tmp_path, repository, "-m", "kafka").stdout


def test_slow_files_come_first(tmp_path: Path, repository: Path) -> None:
    for name in "ab":
        (tmp_path / f"test_{name}.py").write_text(THREE_TESTS)
    (tmp_path / "test_c.py").write_text(f"import pytest\npytestmark = pytest.mark.slow\n{THREE_TESTS}")

    assert order(run_pytest(tmp_path, repository, "-v")) == [f"{name}{n}" for name in "cab" for n in (1, 2, 3)]


def test_long_tests_run_only_if_the_selection_names_their_mark(tmp_path: Path, repository: Path) -> None:
    (tmp_path / "test_a.py").write_text(THREE_TESTS)
    (tmp_path / "test_b.py").write_text(f"import pytest\npytestmark = pytest.mark.long\n{THREE_TESTS}")

    assert order(run_pytest(tmp_path, repository, "-v")) == ["a1", "a2", "a3"]
    assert order(run_pytest(tmp_path, repository, "-v", "-m", "long")) == ["b1", "b2", "b3"]


def test_files_are_shuffled_by_a_seed_and_their_tests_stay_in_order(tmp_path: Path, repository: Path) -> None:
    for name in "abcdef":
        (tmp_path / f"test_{name}.py").write_text(THREE_TESTS)

    orders = [order(run_pytest(tmp_path, repository, "-v", "--shuffle-files", seed)) for seed in ("1", "1", "2")]

    assert orders[0] == orders[1] != orders[2]
    for each in orders:
        files = [name[0] for name in each[::3]]
        assert sorted(files) == list("abcdef")
        assert each == [f"{name}{n}" for name in files for n in (1, 2, 3)]


def order(result: subprocess.CompletedProcess[str]) -> list[str]:
    """Files and tests in the order in which they ran: a1, a2, ..."""
    return ["".join(each) for each in re.findall(r"test_(\w)\.py::test_(\d) PASSED", result.stdout)]
