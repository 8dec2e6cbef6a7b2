from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.website.html_pages import HtmlPage, read_pages

SOURCE_URL = "https://git.example.com/headrace/blob/main/"
BUILD_LIMIT_S = 300.0


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """The site of this repository with links to its code at a Git host. `python -m website` builds it without warnings.

    Workers share it: the first builds it, the others wait.
    """
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "site"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            command = [sys.executable, "-m", "website", "--site", str(partial), "--source-url", SOURCE_URL]
            result = subprocess.run(
                command, cwd=repository, capture_output=True, text=True, check=False, timeout=BUILD_LIMIT_S
            )
            assert (result.returncode, result.stderr) == (0, "")
            partial.rename(folder)
    return folder


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, HtmlPage]:
    return read_pages(site)
