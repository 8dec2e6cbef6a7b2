"""The parts of docs/database.md that are generated from the schema dictionary."""

from __future__ import annotations

from collections.abc import Iterator

from services.loader.schema import ALL_TABLES, REFERENCE_TABLES, Table, TableIndex


def diagram() -> str:
    """References between tables, in Mermaid. Tables of reference data have one shape, so one stands for all."""
    lines = ["```mermaid", "erDiagram"]
    for table in _shown():
        lines += [
            f"    {each.table} ||--o{{ {table.name} : {each.column}"
            for each in table.foreign_keys
            if each.table not in REFERENCE_TABLES or each.table == "venues"
        ]
    return "\n".join([*lines, "```"])


def tables() -> str:
    return "\n\n".join(map(section, _shown()))


def section(table: Table) -> str:
    return "\n".join(_section(table))


def _shown() -> list[Table]:
    return [table for table in ALL_TABLES if table.name not in REFERENCE_TABLES or table.name == "venues"]


def _index(index: TableIndex) -> str:
    return f"`{index.on}`" + (f" where `{index.where}`" if index.where else "")


def _section(table: Table) -> Iterator[str]:
    yield f"### facts.{table.name}\n"
    if table.name == "venues":
        others = ", ".join(f"`{name}`" for name in REFERENCE_TABLES if name != "venues")
        yield f"{table.meaning} Tables of the same shape: {others}.\n"
    else:
        yield f"{table.meaning}\n"
    yield f"Key: {', '.join(f'`{name}`' for name in table.key)}.\n"
    if table.indexes:
        yield f"Indexes: {', '.join(map(_index, table.indexes))}.\n"
    yield "| column | type | unit | meaning |"
    yield "|-|-|-|-|"
    for column in table.all_columns:
        reference = f" Refers to `{column.refers_to}`." if column.refers_to else ""
        null = "" if column.optional else ", not null"
        yield f"| `{column.name}` | {column.sql_type}{null} | {column.unit} | {column.meaning}{reference} |"
