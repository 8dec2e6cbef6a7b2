"""Writes answers to standard output: as JSON for programs, as tables and lines for people."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection, Sequence
from typing import Any

import orjson
from rich.console import Console

from headrace.shown import shown
from headrace.terminal.arguments import Output
from headrace.terminal.console import ShownConsole
from headrace.terminal.table import TABLE_WIDTH, CellText, Row, table_lines, text_of


def stdout() -> Console:
    """Lines are never wrapped or cut. Rich follows NO_COLOR and prints no colours if this is not a terminal."""
    return ShownConsole(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 10_000)


def stderr() -> Console:
    return ShownConsole(stderr=True, highlight=False)


def print_note(text: str) -> None:
    """Write a remark to standard error, beside the answer."""
    stderr().print(text, markup=False, soft_wrap=True)


def json_text(body: object, option: int | None = None) -> str:
    """JSON with all control and format characters escaped, also those that orjson leaves. It decodes to the same."""
    text = orjson.dumps(body, option=option).decode()
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(f"\\u{ord(char):04x}" if _needs_escape(char) else char for char in text)


def print_json(body: Any, indent: bool = False) -> None:
    sys.stdout.write(json_text(body, orjson.OPT_INDENT_2 if indent else None) + "\n")


def print_text(text: str) -> None:
    """Write lines to standard output."""
    sys.stdout.write(f"{shown(text)}\n")


def print_table(
    columns: Sequence[str],
    rows: Sequence[Row],
    *,
    times: Collection[str] = (),
    wide: bool = False,
    text: CellText = text_of,
) -> None:
    """Print a table as wide as the terminal, or 100 columns. `times`: columns of times as ISO 8601 strings."""
    width = None if wide else _width()
    sys.stdout.write("".join(f"{line}\n" for line in table_lines(columns, rows, width, times, text)))


def print_answer(
    output: Output,
    body: Any,
    columns: Sequence[str],
    rows: Sequence[Row],
    none: str,
    *,
    times: Collection[str] = (),
    wide: bool = False,
) -> None:
    """Print `body` as JSON, or `rows` as a table. `none`: the line for a person if there are no rows."""
    if output is Output.JSON:
        print_json(body)
    elif rows:
        print_table(columns, rows, times=times, wide=wide)
    else:
        stdout().print(none)


def _needs_escape(char: str) -> bool:
    return char != "\n" and shown(char) != char and ord(char) <= 0xFFFF


def _width() -> int:
    return shutil.get_terminal_size((TABLE_WIDTH, 24)).columns if sys.stdout.isatty() else TABLE_WIDTH
