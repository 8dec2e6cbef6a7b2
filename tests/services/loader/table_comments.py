"""The comments of tables and columns in the database, from the schema dictionary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.loader.schema import Table, TableColumn


def comment_of(column: TableColumn) -> str:
    """The meaning, with the unit."""
    return f"{column.meaning} Unit: {column.unit}." if column.unit else column.meaning


def comments(tables: Iterable[Table]) -> dict[tuple[str, str | None], str]:
    """By table and column; the column is None for the comment of the table."""
    texts: dict[tuple[str, str | None], str] = {}
    for table in tables:
        texts[table.name, None] = table.meaning
        texts |= {(table.name, column.name): comment_of(column) for column in table.all_columns}
    return texts


def statements(texts: dict[tuple[str, str | None], str]) -> Iterator[str]:
    """The statements of a migration that sets these comments."""
    for (table, column), text in texts.items():
        target = f"TABLE facts.{table}" if column is None else f"COLUMN facts.{table}.{column}"
        quoted = text.replace("'", "''")
        yield f"COMMENT ON {target} IS '{quoted}';"
