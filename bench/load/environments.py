"""Creates a virtual environment for each Python peer. They are kept for the next run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.scale_site import FailedMeasurement

PACKAGES = {
    "faststream": ("faststream[confluent]", "psycopg[binary]"),
    "quix": ("quixstreams[postgresql]",),
    "dlt": ("dlt[postgres]", "pyarrow", "confluent-kafka"),
}
SHOWN = ("faststream", "quixstreams", "dlt", "confluent-kafka", "psycopg", "psycopg2-binary", "pyarrow")


def python_of(peer: str, folder: Path) -> str:
    """The interpreter of the peer's environment. Raises FailedMeasurement if its packages cannot be installed."""
    environment = folder / peer
    python = environment / "bin" / "python"
    if not (environment / "installed").exists():
        _run(sys.executable, "-m", "venv", "--clear", str(environment))
        _run(str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *PACKAGES[peer])
        (environment / "installed").touch()
    return str(python)


def versions_of(peer: str, folder: Path) -> str:
    """The versions of the packages that matter, for the report."""
    listed = _run(python_of(peer, folder), "-m", "pip", "list", "--format", "freeze", "--disable-pip-version-check")
    installed = dict(line.split("==", 1) for line in listed.splitlines() if "==" in line)
    return ", ".join(f"{name} {installed[name]}" for name in SHOWN if name in installed)


def _run(*command: str) -> str:
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    if result.returncode:
        raise FailedMeasurement(f"{' '.join(command[1:4])} failed: {result.stderr.strip()[-300:]}")
    return result.stdout
