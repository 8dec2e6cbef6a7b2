"""headrace sql."""

from __future__ import annotations

import csv
import datetime as dt
import math
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

import orjson
import psycopg
import typer

from headrace.database.access import one_line, opened_if_made
from headrace.terminal.arguments import DatabaseOptions, grouped_options
from headrace.terminal.output import print_json, print_table, stdout
from shared.errors import ConfigError, HeadraceError

# What a person can look at; --csv and --json give all rows.
SHOWN_ROWS = 200


class BadQuery(HeadraceError):
    """PostgreSQL refused the statement; says why, and what may help."""


@grouped_options
def sql(
    place: DatabaseOptions,
    query: Annotated[str, typer.Argument(metavar="STATEMENT", help="One statement; - reads it from standard input.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="All rows as CSV.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help='{"columns": [...], "rows": [{...} ...]}')] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="S", min=0.001, help="Give up after this long.")
    ] = 60,
) -> None:
    """Ask the analytics views: sessions, events, entries, outcomes, transactions, predictions and more. Reads only."""
    if as_csv and as_json:
        raise ConfigError("--csv and --json: choose one")
    statement = sys.stdin.read() if query == "-" else query
    with opened_if_made(place.settings) as access, access.connect_reader() as connection:
        columns, rows = answer(connection, statement, timeout_s)
    if as_csv:
        write_csv(columns, rows)
    elif as_json:
        named = [dict(zip(columns, map(json_value, row), strict=True)) for row in rows]
        print_json({"columns": columns, "rows": named})
    else:
        show(columns, rows)


def answer(
    connection: psycopg.Connection[tuple[Any, ...]], statement: str, timeout_s: float
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names, each once, and rows. Raises BadQuery."""
    connection.execute("SELECT set_config('statement_timeout', %s, false)", (str(max(1, round(timeout_s * 1000))),))
    try:
        cursor = connection.execute(statement.encode())
        if cursor.description is None:
            raise BadQuery("that statement gives no rows; ask with SELECT")
        columns, rows = distinct([column.name for column in cursor.description]), cursor.fetchall()
    except psycopg.Error as error:
        raise BadQuery(f"{said(error)}{hint(error)}") from None
    if cursor.nextset():
        raise BadQuery("one statement at a time")
    return columns, rows


def said(error: psycopg.Error) -> str:
    return error.diag.message_primary or one_line(error)


def hint(error: psycopg.Error) -> str:
    if error.diag.message_hint:
        return f" ({error.diag.message_hint})"
    if isinstance(error, psycopg.errors.UndefinedTable):
        return " (headrace sql \"select viewname from pg_views where schemaname = 'analytics'\" lists the views)"
    if isinstance(error, psycopg.errors.QueryCanceled):
        return " (--timeout S gives it longer)"
    if isinstance(error, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction):
        return " (headrace sql only reads the analytics views)"
    return ""


def distinct(names: Sequence[str]) -> list[str]:
    """A name that comes again gets a number, for an object holds each key once."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return out


def json_value(value: Any) -> Any:
    """Numbers stay numbers, exact where they are whole; times become ISO 8601, everything else text."""
    match value:
        case None | bool() | int() | str():
            plain: Any = value
        case Decimal() if value.is_finite() and value == value.to_integral_value():
            plain = int(value)
        case Decimal() | float() if math.isfinite(value):
            plain = float(value)
        case dt.datetime() | dt.date() | dt.time():
            plain = value.isoformat()
        case dict():
            plain = {str(key): json_value(each) for key, each in value.items()}
        case list() | tuple():
            plain = [json_value(each) for each in value]
        case bytes():
            plain = value.hex()
        case _:
            plain = str(value)
    return plain


def text_value(value: Any) -> str:
    if value is None:
        return ""
    plain = json_value(value)
    return orjson.dumps(plain).decode() if isinstance(plain, dict | list) else str(value)


def write_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([text_value(value) for value in row] for row in rows)


def show(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    print_table(columns, [[text_value(value) for value in row] for row in rows[:SHOWN_ROWS]], overflow="fold")
    more = f", {SHOWN_ROWS} shown; --csv gives all" if len(rows) > SHOWN_ROWS else ""
    stdout().print(f"{len(rows):,} row{'' if len(rows) == 1 else 's'}{more}")
