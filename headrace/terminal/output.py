"""How every command writes its answer: as JSON for programs, as tables and lines for people."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import orjson
from rich.console import Console
from rich.table import Table

from headrace.terminal.arguments import Output

Row = Sequence[Any] | Mapping[str, Any]
"""The cells in the order of the columns, or by the name of the column."""


def stdout() -> Console:
    """Rich follows NO_COLOR, and leaves colours away where there is no terminal; there, nothing is cut to a width."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 10_000)


def stderr() -> Console:
    return Console(stderr=True, highlight=False)


def note(text: str) -> None:
    """Beside the answer, on standard error."""
    stderr().print(text, markup=False, soft_wrap=True)


def print_json(body: Any, indent: bool = False) -> None:
    sys.stdout.write(orjson.dumps(body, option=orjson.OPT_INDENT_2 if indent else None).decode() + "\n")


def print_table(
    columns: Sequence[str],
    rows: Iterable[Row],
    numbers: Sequence[str] = (),
    overflow: Literal["ellipsis", "fold"] = "ellipsis",
) -> None:
    """`numbers`: columns that are aligned to the right; `overflow`: what becomes of a cell that is too wide."""
    table = Table()
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow=overflow)
    for row in rows:
        cells = [row.get(column) for column in columns] if isinstance(row, Mapping) else row
        table.add_row(*map(text_of, cells))
    stdout().print(table, markup=False)


def give(output: Output, body: Any, columns: Sequence[str], rows: Sequence[Row], none: str) -> None:
    """A body as JSON, or as a table; `none` where there is nothing to show."""
    if output is Output.JSON:
        print_json(body)
    elif rows:
        print_table(columns, rows)
    else:
        stdout().print(none)


def text_of(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.1f}"
        case dict() | list():
            return orjson.dumps(value).decode()
    return str(value)
