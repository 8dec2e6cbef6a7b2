"""Builds the distributions from a copy of the files that belong to the repository, so that the checkout stays clean."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("headrace", "services", "shared", "simulator")


class Distributions(NamedTuple):
    source: Path
    wheel: Path


def repository_files(repository: Path) -> list[str]:
    """Tracked files, and new ones that git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(path for path in listed if path and (repository / path).is_file())


def build(repository: Path, folder: Path) -> Distributions:
    """The source distribution, and the wheel that is built from it, in a new folder."""
    copy = folder / "copy"
    for path in repository_files(repository):
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repository / path, copy / path)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), str(copy)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    [source], [wheel] = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return Distributions(source, wheel)
