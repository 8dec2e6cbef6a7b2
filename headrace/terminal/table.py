"""Lays out rows as lines of text: as a table, or as one block per row if the columns do not fit.

A table that is too wide is narrowed in this order: prose is cut, then the headers of numbers and times, then
identifiers. Numbers and times themselves are never cut.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

import orjson
from rich.cells import cell_len, set_cell_size

from headrace.shown import shown_line

Row = Sequence[Any] | Mapping[str, Any]
"""The cells in the order of the columns, or by the name of the column."""

TABLE_WIDTH = 100
"""The width if standard output is not a terminal."""
_GAP = "  "
# The widths below which a header, prose and an identifier are not cut.
_MIN_HEADER, _MIN_PROSE, _MIN_IDENTIFIER = 6, 12, 8


class CellText(Protocol):
    def __call__(self, value: Any, wide: bool = False) -> str: ...


def text_of(value: Any, wide: bool = False) -> str:
    """A value for people. `wide`: times with microseconds, and floats in full instead of one decimal."""
    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case int():
            text = f"{value:,}"
        case float():
            text = repr(value) if wide else f"{value:,.1f}"
        case datetime():
            text = time_text(value, wide)
        case dict() | list():
            text = orjson.dumps(value).decode()
        case _:
            text = str(value)
    return text


def time_text(at: datetime, wide: bool = False) -> str:
    """`2026-03-02 10:20:31`, in UTC. A time without a zone is printed as it is."""
    utc = at if at.tzinfo is None else at.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(" ", "auto" if wide else "seconds")


def table_lines(
    columns: Sequence[str],
    rows: Sequence[Row],
    width: int | None,
    times: Collection[str] = (),
    text: CellText = text_of,
) -> list[str]:
    """`width` None prints every value in full. `times`: columns of times that may be ISO 8601 strings."""
    laid_out = [_column(name, values, width is None, name in times, text) for name, values in _by_column(columns, rows)]
    widths = [each.natural for each in laid_out] if width is None else _fitted(laid_out, width)
    return _blocks(laid_out, len(rows), width or 0) if widths is None else _table(laid_out, len(rows), widths)


@dataclass(frozen=True)
class _Column:
    """`minimum`: the width to which it may be cut. `rank`: columns of a lower rank are cut first."""

    header: str
    cells: Sequence[str]
    is_number: bool
    minimum: int
    rank: int

    @property
    def natural(self) -> int:
        return max(cell_len(self.header), *map(cell_len, self.cells), 0)


class _ColumnKind(NamedTuple):
    is_number: bool
    is_never_cut: bool
    is_time: bool


def _by_column(columns: Sequence[str], rows: Sequence[Row]) -> Iterator[tuple[str, list[Any]]]:
    for at, name in enumerate(columns):
        yield name, [row.get(name) if isinstance(row, Mapping) else row[at] for row in rows]


def _column(name: str, values: Sequence[Any], wide: bool, is_time: bool, text: CellText) -> _Column:
    values = [_parsed(value) for value in values] if is_time else values
    kind = _column_kind(values)
    header = shown_line(f"{name} (UTC)" if is_time or kind.is_time else name)
    cells = [shown_line(text(value, wide)) for value in values]
    widest, header_minimum = max(map(cell_len, cells), default=0), min(cell_len(header), _MIN_HEADER)
    if kind.is_never_cut or is_time:
        return _Column(header, cells, kind.is_number, max(widest, header_minimum), 1)
    if any(isinstance(value, dict | list) for value in values) or any(" " in cell for cell in cells):
        return _Column(header, cells, False, max(min(widest, _MIN_PROSE), header_minimum), 0)
    return _Column(header, cells, False, max(min(widest, _MIN_IDENTIFIER), header_minimum), 2)


def _column_kind(values: Sequence[Any]) -> _ColumnKind:
    present = [value for value in values if value is not None]
    is_number = _any_and_all(
        present, lambda value: isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    )
    is_never_cut = is_number or _any_and_all(present, lambda value: isinstance(value, bool | date))
    is_time = _any_and_all(present, lambda value: isinstance(value, datetime) and value.tzinfo is not None)
    return _ColumnKind(is_number, is_never_cut, is_time)


def _any_and_all(values: Sequence[Any], test: Callable[[Any], bool]) -> bool:
    return bool(values) and all(map(test, values))


def _parsed(value: Any) -> Any:
    """An ISO 8601 string as a time; anything else unchanged."""
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _fitted(columns: Sequence[_Column], limit: int) -> list[int] | None:
    """The column widths of a table at most `limit` characters wide, or None if it cannot be cut to that width.

    Within a rank, the widest column is cut first.
    """
    widths = [each.natural for each in columns]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - limit
    for rank in (0, 1, 2):
        while excess > 0:
            can_be_cut = [at for at, each in enumerate(columns) if each.rank == rank and widths[at] > each.minimum]
            if not can_be_cut:
                break
            widths[max(can_be_cut, key=lambda at: widths[at])] -= 1
            excess -= 1
    return widths if excess <= 0 else None


def _table(columns: Sequence[_Column], count: int, widths: Sequence[int]) -> list[str]:
    rows = [[each.header for each in columns], ["-" * width for width in widths]]
    rows += [[each.cells[at] for each in columns] for at in range(count)]
    numbers = [each.is_number for each in columns]
    return [_GAP.join(map(_cell, row, widths, numbers)).rstrip() for row in rows]


def _blocks(columns: Sequence[_Column], count: int, width: int) -> list[str]:
    """One line per value, and an empty line between the rows."""
    names = max(cell_len(each.header) for each in columns)
    lines: list[str] = []
    for at in range(count):
        lines += [""] if at else []
        for each in columns:
            value = _cut(each.cells[at], max(width - names - len(_GAP), _MIN_IDENTIFIER))
            lines.append(f"{set_cell_size(each.header, names)}{_GAP}{value}".rstrip())
    return lines


def _cell(text: str, width: int, right: bool) -> str:
    shown = _cut(text, width)
    return " " * (width - cell_len(shown)) + shown if right else set_cell_size(shown, width)


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"
