"""No command prints a control character of foreign text."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from headrace.shown import shown, shown_line
from headrace.terminal.console import ShownConsole
from headrace.terminal.output import json_text

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u2028\x00"


@given(st.text())
def test_nothing_of_category_c_is_left(text: str) -> None:
    assert all(char in "\n\t" or category(char)[0] != "C" for char in shown(text))
    assert len(shown(text)) == len(text)
    assert "\n" not in shown_line(text)


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"])))
def test_other_text_is_unchanged(text: str) -> None:
    assert shown(text) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_decodes_to_the_same_and_has_no_control_characters(text: str) -> None:
    line = json_text({"text": text})

    assert json.loads(line) == {"text": text}
    assert all(category(char)[0] != "C" or ord(char) > 0xFFFF for char in line)


@pytest.mark.parametrize("colours", [False, True])
def test_a_console_prints_its_own_colours_only(colours: bool) -> None:
    out = io.StringIO()
    console = ShownConsole(file=out, force_terminal=colours, color_system="standard" if colours else None, width=200)
    table = Table(HOSTILE)
    table.add_row(HOSTILE)
    for each in (HOSTILE, Text(HOSTILE), f"[red]{HOSTILE}[/red]", table):
        console.print(each)

    assert _hostile_parts(out.getvalue()) == []
    assert ("\x1b[31m" in out.getvalue()) == colours


def test_no_module_of_the_command_prints_past_the_safe_functions(repository: Path) -> None:
    """A new `Console(` or `print(` would show foreign text as it is."""
    found = [
        f"{path.relative_to(repository)}:{number}"
        for path in sorted((repository / "headrace").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"(?<![A-Za-z_.])(Console|print|echo)\(|typer\.echo\(", line) and "class " not in line
        if path.name != "picture.py"  # draws a picture of made-up data for the documents
    ]

    assert found == []


def _hostile_parts(out: str) -> list[str]:
    """Control characters, except the colours of Rich."""
    plain = re.sub(r"\x1b\[(\d+(;\d+)*)?m", "", out) if "\x1b[2J" not in out else out
    return [char for char in plain if char not in "\n\t\r" and category(char)[0] == "C"]
