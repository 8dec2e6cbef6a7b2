"""The command `headrace sql`: runs one read-only query on the analytics views."""

from __future__ import annotations

import csv
import datetime as dt
import math
import sys
from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

import orjson
import psycopg
import typer

from headrace.database.access import one_line, open_existing_database
from headrace.terminal.arguments import DatabaseOptions, WideOption, grouped_options
from headrace.terminal.output import print_json, print_table, stdout
from headrace.terminal.table import time_text
from shared.errors import ConfigError, HeadraceError

# The limit of a table for people; CSV and JSON hold all rows.
SHOWN_ROWS = 200


class SqlOutput(StrEnum):
    """The form of the rows."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class BadQuery(HeadraceError):
    """PostgreSQL refused the statement. The message contains its reason and a hint."""


@grouped_options
def sql(
    options: DatabaseOptions,
    query: Annotated[str, typer.Argument(metavar="STATEMENT", help="One statement; - reads it from standard input.")],
    as_csv: Annotated[bool, typer.Option("--csv", help="Same as --output csv: all rows as CSV.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help='Same as --output json: {"columns": [...], "rows": [{...} ...]}.')
    ] = False,
    output: Annotated[
        SqlOutput | None,
        typer.Option("--output", "-o", help="The form of the rows; json and csv are unrounded. [default: table]"),
    ] = None,
    wide: WideOption = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="S", min=0.001, help="Cancel the query after this many seconds.")
    ] = 60,
) -> None:
    """Query the analytics views: sessions, events, entries, outcomes, transactions, predictions and more. Read-only.

    A table shows times in UTC and floats with three decimals; --wide shows them in full.
    """
    form = _output_form(output, as_csv, as_json)
    statement = sys.stdin.read() if query == "-" else query
    with open_existing_database(options.settings) as access, access.connect_reader() as connection:
        columns, rows = rows_of(connection, statement, timeout_s)
    if form is SqlOutput.CSV:
        write_csv(columns, rows)
    elif form is SqlOutput.JSON:
        named = [dict(zip(columns, map(json_value, row), strict=True)) for row in rows]
        print_json({"columns": columns, "rows": named})
    else:
        print_rows(columns, rows, wide)


def _output_form(output: SqlOutput | None, as_csv: bool, as_json: bool) -> SqlOutput:
    options = ((as_csv, SqlOutput.CSV), (as_json, SqlOutput.JSON), (output is not None, output))
    forms = {form for is_given, form in options if is_given and form is not None}
    if len(forms) > 1:
        raise ConfigError("--csv, --json and --output: choose one")
    return forms.pop() if forms else SqlOutput.TABLE


def rows_of(
    connection: psycopg.Connection[tuple[Any, ...]], statement: str, timeout_s: float
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Unique column names, and the rows. Raises BadQuery."""
    connection.execute("SELECT set_config('statement_timeout', %s, false)", (str(max(1, round(timeout_s * 1000))),))
    try:
        cursor = connection.execute(statement.encode())
        if cursor.description is None:
            raise BadQuery("the statement gives no rows: expected a SELECT")
        columns, rows = unique_names([column.name for column in cursor.description]), cursor.fetchall()
    except psycopg.Error as error:
        raise BadQuery(f"{message_of(error)}{hint(error)}") from None
    if cursor.nextset():
        raise BadQuery("expected one statement at a time")
    return columns, rows


def message_of(error: psycopg.Error) -> str:
    return error.diag.message_primary or one_line(error)


def hint(error: psycopg.Error) -> str:
    if error.diag.message_hint:
        return f" ({error.diag.message_hint})"
    if isinstance(error, psycopg.errors.UndefinedTable):
        return " (headrace sql \"select viewname from pg_views where schemaname = 'analytics'\" lists the views)"
    if isinstance(error, psycopg.errors.QueryCanceled):
        return " (--timeout S allows more time)"
    if isinstance(error, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction):
        return " (headrace sql only reads the analytics views)"
    return ""


def unique_names(names: Sequence[str]) -> list[str]:
    """Append a number to a repeated name, because a JSON object holds each key once."""
    counts: dict[str, int] = {}
    unique = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        unique.append(name if counts[name] == 1 else f"{name}_{counts[name]}")
    return unique


def json_value(value: Any) -> Any:
    """Numbers stay numbers, whole ones exactly; times become ISO 8601, other types text."""
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


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], wide: bool) -> None:
    print_table(columns, rows[:SHOWN_ROWS], wide=wide, text=cell_text)
    more = f", {SHOWN_ROWS} shown; --output csv prints all" if len(rows) > SHOWN_ROWS else ""
    stdout().print(f"{len(rows):,} row{'' if len(rows) == 1 else 's'}{more}")


def cell_text(value: Any, wide: bool = False) -> str:
    """A value in a table. Integers have no thousands separator, so that they can be copied into a query."""
    match value:
        case dt.datetime():
            return time_text(value, wide)
        case Decimal() if value.is_finite() and value == value.to_integral_value():
            return str(int(value))
        case Decimal() | float() if not wide:
            return number_text(value)
    return text_value(value)


def number_text(value: float | Decimal) -> str:
    """Three decimals, or three significant digits where these would show nothing or too much."""
    number = float(value)
    return f"{number:.3f}" if number == 0 or 0.001 <= abs(number) < 1e12 else f"{number:.3g}"
