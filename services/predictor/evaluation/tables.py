"""Formats figures as a plain-text table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from services.predictor.evaluation.bootstrap import Interval

Cell = str | float | int | Interval | None


def format_table(rows: Sequence[Mapping[str, Cell]], digits: int = 4, unsigned_columns: Collection[str] = ()) -> str:
    """One line per row below a header; columns in order of first appearance. Texts align left, numbers right.

    Intervals are differences and show their sign, except in the `unsigned_columns`.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_text(row.get(name), digits, name in unsigned_columns) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    left_aligned = [all(isinstance(row.get(name), str | None) for row in rows) for name in names]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(line, widths, left_aligned, strict=True)
        ).rstrip()
        for line in cells
    )


def _text(cell: Cell, digits: int, unsigned: bool) -> str:
    if cell is None or cell != cell or (isinstance(cell, Interval) and cell.mean != cell.mean):  # noqa: PLR0124
        return "-"  # NaN: unknown
    if isinstance(cell, Interval):
        sign = "" if unsigned else "+"
        return f"{cell.mean:{sign}.{digits}f} [{cell.low:{sign}.{digits}f}, {cell.high:{sign}.{digits}f}]"
    if isinstance(cell, float):
        return f"{cell:.{digits}f}"
    return f"{cell:,}" if isinstance(cell, int) else cell
