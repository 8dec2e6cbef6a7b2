"""Figures as a table of plain text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.predictor.judge.paired import Interval

Cell = str | float | int | Interval | None


def table(rows: Sequence[Mapping[str, Cell]], digits: int = 4) -> str:
    """One line a row under a head; columns in the order they first appear. Texts stand left, numbers right."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_text(row.get(name), digits) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    left = [all(isinstance(row.get(name), str | None) for row in rows) for name in names]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(line, widths, left, strict=True)
        ).rstrip()
        for line in cells
    )


def _text(cell: Cell, digits: int) -> str:
    if cell is None or cell != cell:  # noqa: PLR0124 NaN: nothing is known
        return "-"
    if isinstance(cell, Interval):
        return f"{cell.mean:+.{digits}f} [{cell.low:+.{digits}f}, {cell.high:+.{digits}f}]"
    if isinstance(cell, float):
        return f"{cell:.{digits}f}"
    return f"{cell:,}" if isinstance(cell, int) else cell
