"""Describes why PostgreSQL refused a row: its own message, and where the value belongs."""

from __future__ import annotations

import re

import psycopg

from shared.database.connection import first_line

# In COPY only the context names the column: COPY stage_outcomes, line 3, column place: "x"
_COPY_CONTEXT = re.compile(r"COPY (\w+), line \d+(?:, column (\w+))?")
_STAGE = "stage_"


def refusal_of(error: psycopg.Error) -> str:
    """The first line of PostgreSQL's message with SQLSTATE, constraint, table and column, as far as it names them.

    A value that the client refuses, for example a text with NUL, has no SQLSTATE.
    """
    diag = error.diag
    in_copy = _COPY_CONTEXT.search(diag.context or "")
    table, column = in_copy.groups() if in_copy else (diag.table_name, diag.column_name)
    places = (
        ("SQLSTATE", error.sqlstate),
        ("constraint", diag.constraint_name),
        ("table", None if table is None else f"facts.{table.removeprefix(_STAGE)}"),
        ("column", column),
    )
    known = ", ".join(f"{name} {value}" for name, value in places if value)
    return f"{first_line(error)} ({known})" if known else first_line(error)
