"""Where the recorded days of the boat race source lie: ../shared/data/boatrace beside the repository, or where
HEADRACE_BOATRACE says. Tests read them there; nothing of them is part of the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "HEADRACE_BOATRACE"


def recording() -> Path | None:
    """The directory that holds v2/ and live/, if there is one."""
    beside = Path(__file__).parents[1].parent / "shared" / "data" / "boatrace"
    found = Path(os.environ.get(VARIABLE, beside))
    return found if (found / "v2").is_dir() else None


def directory() -> Path:
    """The same, for tests marked as `recorded`: they are skipped where there is none."""
    found = recording()
    if found is None:
        pytest.skip(f"no recorded days: set {VARIABLE} to the directory that holds v2/ and live/")
    return found
