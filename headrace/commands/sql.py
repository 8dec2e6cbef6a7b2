"""The command `headrace sql`: runs one read-only query on the analytics views."""

from __future__ import annotations

import csv
import datetime as dt
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from itertools import chain, islice
from typing import Annotated, Any

import orjson
import typer

from headrace.database.access import open_existing_database
from headrace.database.queries import QueryRows, run_query
from headrace.shown import shown_line
from headrace.terminal.arguments import DatabaseOptions, WideOption, grouped_options
from headrace.terminal.extras import require_extras
from headrace.terminal.output import json_text, print_note, print_table, stdout
from headrace.terminal.row_progress import row_progress
from headrace.terminal.table import time_text
from shared.errors import ConfigError

# The limit of a table for people; CSV, JSON and Parquet hold all rows.
SHOWN_ROWS = 200
# A spreadsheet takes a cell that begins like this for a formula.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class SqlOutput(StrEnum):
    """The form of the rows."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


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
    parquet: Annotated[
        str | None,
        typer.Option(
            "--parquet", metavar="FILE", help="Write all rows to this Parquet file; - is standard output, if piped."
        ),
    ] = None,
    excel_safe: Annotated[
        bool, typer.Option("--excel-safe", help="With --csv: an apostrophe before text that would be a formula.")
    ] = False,
    wide: WideOption = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", metavar="S", min=0.001, help="Cancel the query after this many seconds.")
    ] = 60,
) -> None:
    """Query the analytics views: sessions, events, entries, outcomes, transactions, predictions and more. Read-only.

    A table shows times in UTC and floats with three decimals; --wide shows them in full. A result of any size fits into
    memory; a terminal shows the progress of a long query.
    """
    form = _output_form(output, as_csv, as_json, parquet)
    if excel_safe and form is not SqlOutput.CSV:
        raise ConfigError("--excel-safe is for CSV: use it with --csv")
    statement = sys.stdin.read() if query == "-" else query
    with open_existing_database(options.settings) as access, access.connect_reader() as connection:
        result = run_query(connection, statement, timeout_s)
        is_streamed_to_terminal = sys.stdout.isatty() and form in {SqlOutput.CSV, SqlOutput.JSON}
        with row_progress(wanted=not is_streamed_to_terminal) as progress:
            counted = replace(result, rows=progress.counted(result.rows))
            print_result = write_result(counted, form, parquet, wide, excel_safe)
        print_result()


def write_result(
    result: QueryRows, form: SqlOutput, parquet: str | None, wide: bool, excel_safe: bool = False
) -> Callable[[], None]:
    """Write or read all rows. Returns what is to be printed when no progress is shown any more."""
    if parquet is not None:
        from headrace.terminal.parquet import write_parquet  # noqa: PLC0415 - pyarrow is in an extra

        count = write_parquet(result, parquet, text_value)
        return lambda: None if parquet == "-" else print_note(f"{count:,} row{'' if count == 1 else 's'} in {parquet}")
    if form is SqlOutput.CSV:
        write_csv(result.columns, result.rows, excel_safe)
    elif form is SqlOutput.JSON:
        write_json(result.columns, result.rows)
    else:
        rows = list(islice(result.rows, SHOWN_ROWS))
        count = len(rows) + sum(1 for _ in result.rows)
        return lambda: print_rows(result.columns, rows, count, wide)
    return lambda: None


def _output_form(output: SqlOutput | None, as_csv: bool, as_json: bool, parquet: str | None) -> SqlOutput:
    """Raises ConfigError if the options contradict each other or if packages for Parquet are missing."""
    options = ((as_csv, SqlOutput.CSV), (as_json, SqlOutput.JSON), (output is not None, output))
    forms = {form for is_given, form in options if is_given and form is not None}
    if len(forms) + (parquet is not None) > 1:
        raise ConfigError("--csv, --json, --parquet and --output: choose one")
    if parquet is not None:
        require_extras("headrace sql --parquet", "parquet")
    return forms.pop() if forms else SqlOutput.TABLE


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


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], excel_safe: bool = False) -> None:
    """Write rows as they arrive. An error of the first row leaves the output empty.

    A terminal shows the values without control characters; a file or a pipe gets them as they are.
    """
    arriving = _after_first(rows)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    plain = shown_line if sys.stdout.isatty() else str
    text = inert_text if excel_safe else text_value
    writer.writerow([plain(name) for name in columns])
    writer.writerows([plain(text(value)) for value in row] for row in arriving)


def inert_text(value: Any) -> str:
    """A value that no spreadsheet takes for a formula: an apostrophe precedes a text that would begin one."""
    text = text_value(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(FORMULA_STARTS) else text


def write_json(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as they arrive. An error of the first row leaves the output empty."""
    arriving = _after_first(rows)
    sys.stdout.write(f'{{"columns":{json_text(columns)},"rows":[')
    for number, row in enumerate(arriving):
        named = dict(zip(columns, map(json_value, row), strict=True))
        sys.stdout.write(f"{',' if number else ''}{json_text(named)}")
    sys.stdout.write("]}\n")


def _after_first(rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """The rows, the first of which has already been read."""
    arriving = iter(rows)
    return chain(list(islice(arriving, 1)), arriving)


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], count: int, wide: bool) -> None:
    """`count`: how many rows the query gave; `rows`: those to print."""
    print_table(columns, rows, wide=wide, text=cell_text)
    more = f", {len(rows)} shown; --output csv prints all" if count > len(rows) else ""
    stdout().print(f"{count:,} row{'' if count == 1 else 's'}{more}")


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
