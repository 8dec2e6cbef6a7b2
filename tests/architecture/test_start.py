"""What the programs import when they start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shared.topics import SERVICES
from tests.architecture.shape import ANALYSIS_LIBRARIES

SERVICE = "import sys; import services.{name}.__main__"
HELP = """
import sys
from headrace.cli import command
assert command(["--help"]) == 0
"""


def loaded_libraries(code: str) -> set[str]:
    """The libraries of analysts, and matplotlib, that a new process has loaded after this code."""
    names = [*ANALYSIS_LIBRARIES, "matplotlib"]
    program = f"{code}\nprint('loaded:', *(name for name in {names!r} if name in sys.modules))"
    output = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    return set(output.splitlines()[-1].removeprefix("loaded:").split())


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_without_the_libraries_of_analysts(service: str) -> None:
    assert loaded_libraries(SERVICE.format(name=service)) == set()


def test_the_help_of_the_command_needs_none_of_them() -> None:
    assert loaded_libraries(HELP) == set()


def test_frames_load_them_but_not_torch() -> None:
    loaded = loaded_libraries("import sys, headrace.frames; assert 'torch' not in sys.modules")

    assert loaded == {*ANALYSIS_LIBRARIES}
