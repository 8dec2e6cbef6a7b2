"""The Jupyter form of a marimo notebook: the same cells from top to bottom, without marimo and without outputs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def jupyter_text(notebook: Path) -> str:
    """What the .ipynb file contains. Markdown cells need no marimo there, so its import is left out."""
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "exported.ipynb"
        arguments = ["export", "ipynb", str(notebook), "--sort", "top-down", "--output", str(exported)]
        subprocess.run([sys.executable, "-m", "marimo", "--quiet", *arguments], check=True, capture_output=True)
        content = json.loads(exported.read_text("utf-8"))
    cells = [cell_of(cell) for cell in content["cells"] if "".join(cell["source"]) != "import marimo as mo"]
    language = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}
    body = {"cells": cells, "metadata": {"language_info": language}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def cell_of(cell: dict[str, Any]) -> dict[str, Any]:
    return cell | {"metadata": {}}
