"""Locates the recorded days of the boat race source, in ../shared/data/boatrace or the directory HEADRACE_BOATRACE.

They are not part of the project.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "HEADRACE_BOATRACE"


def recording() -> Path | None:
    """The directory that contains v2/ and live/, or None."""
    default = Path(__file__).parents[1].parent / "shared" / "data" / "boatrace"
    path = Path(os.environ.get(VARIABLE, default))
    return path if (path / "v2").is_dir() else None


def directory() -> Path:
    """The same directory. Skips the calling test, which has the mark `recorded`, if there is none."""
    path = recording()
    if path is None:
        pytest.skip(f"no recorded days: set {VARIABLE} to the directory that contains v2/ and live/")
    return path
