"""An environment with the wheel that sees this environment's dependencies, but not the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path


def install(wheel: Path, folder: Path) -> Path:
    """Create the environment in a folder; returns the folder of its programs.

    The dependencies come from the folders `site-packages` of the running interpreter. Python ignores further `.pth`
    files in them, and therefore the editable installation of the checkout.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    programs = folder / "bin"
    pip = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    [packages] = folder.glob("lib/python3*/site-packages")
    shared = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "dependencies.pth").write_text("\n".join(shared) + "\n", encoding="utf-8")
    return programs


def environment_without(repository: Path, programs: Path) -> dict[str, str]:
    """The environment variables of a shell in which the installed programs come first and the checkout is unknown."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE", "PYTHON"))}
    search = [part for part in kept["PATH"].split(os.pathsep) if str(repository) not in part]
    return {**kept, "PATH": os.pathsep.join([str(programs), *search])}
