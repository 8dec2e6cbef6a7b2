"""`headrace` says so if a package of Headrace is hidden by one of another project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from headrace.installation import ROOT, check_installation


def test_this_installation_is_complete() -> None:
    assert check_installation() is None


def test_packages_of_another_place_are_named(tmp_path: Path) -> None:
    problem = check_installation(tmp_path)

    assert problem is not None
    assert problem.startswith(f"{ROOT / 'services'} hides the package services of Headrace, which is in {tmp_path}")


@pytest.mark.parametrize("name", ["services", "shared", "simulator"])
def test_a_folder_of_another_project_is_reported_instead_of_a_traceback(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}

    result = subprocess.run(
        [sys.executable, "-m", "headrace", "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    assert result.stderr.startswith(f"headrace: {tmp_path / name} hides the package {name} of Headrace")
    assert result.stderr.count("\n") == 1
