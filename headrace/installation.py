"""Checks that the packages of Headrace are Headrace's own. Imports none of them.

Three of them have common names (docs/adr/0015). If Python finds another project's package or folder with such a name
first, imports would fail with errors about missing modules.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("services", "shared", "simulator")
# The image of the command lacks the simulator, which has an image of its own.
OPTIONAL_PACKAGES = frozenset({"simulator"})
ROOT = Path(__file__).resolve().parents[1]


def check_installation(root: Path = ROOT) -> str | None:
    """Which package is not next to this one, and what to do; None if all are."""
    for name in PACKAGES:
        folder = _folder_of(name)
        if folder is None and name not in OPTIONAL_PACKAGES:
            return f"the package {name} of Headrace is missing in {root}: install Headrace again"
        if folder is not None and folder != root / name:
            return (
                f"{folder} hides the package {name} of Headrace, which is in {root}: rename it, or install Headrace in "
                "an environment of its own (pipx install, or a new venv) and run it from another folder"
            )
    return None


def _folder_of(name: str) -> Path | None:
    specification = find_spec(name)
    if specification is None:
        return None
    if specification.submodule_search_locations:
        return Path(next(iter(specification.submodule_search_locations))).resolve()
    return Path(specification.origin).resolve() if specification.origin else None
