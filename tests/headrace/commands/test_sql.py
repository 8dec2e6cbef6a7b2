"""`headrace sql`: the forms of its rows, and refused statements."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from headrace.cli import command
from headrace.database.access import open_database, prepare
from headrace.database.embedded import EmbeddedPostgres
from shared.settings.sections import Settings

Headrace = Callable[..., tuple[int, str, str]]


def test_json_has_columns_and_rows(headrace: Headrace) -> None:
    code, out, _ = headrace(
        "sql",
        "select market, sum(amount) as total, max(e.scheduled_at) as at, null as nothing"
        " from transactions t join events e using (event_key) group by market order by 1",
        "--json",
    )

    assert code == 0
    assert json.loads(out) == {
        "columns": ["market", "total", "at", "nothing"],
        "rows": [
            {"market": "trifecta", "total": 1230, "at": "2026-01-31T03:00:00+00:00", "nothing": None},
            {"market": "win", "total": 250, "at": "2026-01-31T03:00:00+00:00", "nothing": None},
        ],
    }


def test_csv_has_all_rows(headrace: Headrace) -> None:
    _, out, _ = headrace("sql", "select market, amount from transactions order by 2", "--csv")

    assert list(csv.reader(io.StringIO(out))) == [["market", "amount"], ["win", "250"], ["trifecta", "1230"]]


def test_a_repeated_column_name_gets_a_number(headrace: Headrace) -> None:
    _, out, _ = headrace("sql", "select 1 as n, 2 as n", "--json")

    assert json.loads(out) == {"columns": ["n", "n_2"], "rows": [{"n": 1, "n_2": 2}]}


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("selec 1", "syntax error"),
        ("select * from sesions", "lists the views"),
        ("select * from facts.events", "only reads the analytics views"),
        ("create table x (y int)", "only reads"),
        ("select 1; select 2", "one statement at a time"),
        ("set statement_timeout = 0", "gives no rows"),
    ],
)
def test_a_refused_statement_is_reported_in_one_line(headrace: Headrace, statement: str, message: str) -> None:
    code, out, err = headrace("sql", statement)

    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_statement_that_takes_too_long_is_cancelled(headrace: Headrace) -> None:
    code, _, err = headrace("sql", "select pg_sleep(30)", "--timeout", "0.05")

    assert code == 1
    assert "--timeout" in err


def test_sql_starts_the_server_and_stops_it_afterwards(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with open_database(settings) as access:
        prepare(access, settings)

    code = command(["sql", "select count(*) from events", "--json", "--data-dir", str(settings.data_dir)])

    assert code == 0
    assert json.loads(capfd.readouterr().out)["rows"] == [{"count": 0}]
    assert not EmbeddedPostgres(settings.data_dir).accepts_connections()


VALUES = (
    "select 'made-up:2026-01-31:07:01' as event_key, 0.123456789::float8 as probability, 1e-7::float8 as tiny,"
    " timestamptz '2026-03-02 19:20:31.5+09' as at, repeat('a long text ', 30) as text, 12345 as number"
)


def test_a_table_fits_100_columns_with_times_in_utc_and_three_decimals(headrace: Headrace) -> None:
    code, out, _ = headrace("sql", VALUES)

    header, _, row, count = out.splitlines()
    assert (code, count) == (0, "1 row")
    assert max(map(len, (header, row))) <= 100
    assert "at (UTC)" in header
    assert row.startswith("made-up:2026-01-31:07:01        0.123  1e-07  2026-03-02 10:20:31  a long text")
    assert row.split()[-2:] == ["text…", "12345"]


def test_wide_prints_every_value_in_full(headrace: Headrace) -> None:
    _, out, _ = headrace("sql", VALUES, "--wide")

    for value in ("0.123456789", "2026-03-02 10:20:31.500000", ("a long text " * 30).strip()):
        assert value in out


def test_many_columns_are_printed_one_per_line(headrace: Headrace) -> None:
    _, out, _ = headrace("sql", "select * from events")

    lines = out.splitlines()
    assert lines[0].split() == ["event_key", "made-up:2026-01-31:07:01"]
    assert "scheduled_at (UTC)   2026-01-31 03:00:00" in lines
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("form", ["json", "csv"])
def test_output_gives_the_same_forms_as_the_options_json_and_csv(headrace: Headrace, form: str) -> None:
    assert headrace("sql", VALUES, "--output", form) == headrace("sql", VALUES, f"--{form}")
    assert "0.123456789" in headrace("sql", VALUES, "--output", form)[1]


def test_two_different_forms_are_refused(headrace: Headrace) -> None:
    code, _, err = headrace("sql", "select 1", "--json", "--output", "csv")

    assert (code, err) == (2, "headrace: --csv, --json, --parquet and --output: choose one\n")


def test_an_error_after_the_first_rows_ends_the_output_and_fails(headrace: Headrace) -> None:
    code, _, err = headrace("sql", "select 1 / (3000 - n) from generate_series(1, 9000) n", "--csv")

    assert (code, err) == (1, "headrace: division by zero\n")


def test_a_table_counts_the_rows_that_it_does_not_show(headrace: Headrace) -> None:
    _, out, _ = headrace("sql", "select n from generate_series(1, 4321) n")

    assert out.splitlines()[-1] == "4,321 rows, 200 shown; --output csv prints all"


def test_a_result_without_rows_has_its_columns_in_each_form(headrace: Headrace, tmp_path: Path) -> None:
    nothing = "select event_key, number from events where false"

    headrace("sql", nothing, "--parquet", str(tmp_path / "nothing.parquet"))

    assert headrace("sql", nothing, "--csv")[1] == "event_key,number\n"
    assert headrace("sql", nothing, "--json")[1] == '{"columns":["event_key","number"],"rows":[]}\n'
    table = pyarrow.parquet.read_table(tmp_path / "nothing.parquet")
    assert (table.num_rows, table.schema.names) == (0, ["event_key", "number"])


TYPED = (
    "select n::int2 as small, n * 1000000000000 as large, n / 4.0::float8 as share, sum(n) over () as total,"
    " timestamptz '2026-03-02 19:20:31.5+09' as at, date '2026-03-02' as day, n = 1 as is_first,"
    " nullif(n, 1)::text as text, jsonb_build_object('n', n) as facts, array['a', 'b'] as list, 'x'::name as name"
    " from generate_series(1, 2) n"
)


def test_parquet_has_typed_rows(headrace: Headrace, tmp_path: Path) -> None:
    file = tmp_path / "typed.parquet"

    code, out, err = headrace("sql", TYPED, "--parquet", str(file))

    at, day = dt.datetime(2026, 3, 2, 10, 20, 31, 500_000, tzinfo=dt.UTC), dt.date(2026, 3, 2)
    same = {"total": 3.0, "at": at, "day": day, "list": ["a", "b"], "name": "x"}
    assert (code, out, err) == (0, "", f"2 rows in {file}\n")
    assert pyarrow.parquet.read_table(file).to_pylist() == [
        {"small": 1, "large": 10**12, "share": 0.25, "is_first": True, "text": None, "facts": '{"n":1}'} | same,
        {"small": 2, "large": 2 * 10**12, "share": 0.5, "is_first": False, "text": "2", "facts": '{"n":2}'} | same,
    ]
    assert pyarrow.parquet.read_schema(file).field("at").type == pa.timestamp("us", "UTC")


def test_a_failed_query_leaves_no_parquet_file(headrace: Headrace, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    file.write_text("an earlier file")

    code, _, _ = headrace("sql", "select 1 / (3000 - n) from generate_series(1, 9000) n", "--parquet", str(file))

    assert code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]
    assert file.read_text() == "an earlier file"


def sql_process(filled_dir: Path, *arguments: str, **streams: int) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "headrace", "sql", *arguments, "--data-dir", str(filled_dir)]
    return subprocess.run(command, check=False, **streams)  # type: ignore[call-overload, no-any-return]


def test_parquet_can_be_piped_and_is_refused_on_a_terminal(access: object, filled_dir: Path) -> None:
    piped = sql_process(filled_dir, TYPED, "--parquet", "-", stdout=subprocess.PIPE)
    master, terminal = pty.openpty()
    refused = sql_process(filled_dir, TYPED, "--parquet", "-", stdout=terminal, stderr=subprocess.PIPE)
    os.close(terminal)
    os.close(master)

    assert pyarrow.parquet.read_table(io.BytesIO(piped.stdout)).num_rows == 2
    assert refused.returncode == 2
    assert b"not for a terminal" in refused.stderr


def test_a_terminal_shows_the_progress_of_a_long_query(access: object, filled_dir: Path) -> None:
    master, terminal = pty.openpty()

    result = sql_process(filled_dir, "select 1 as n from pg_sleep(2)", "--csv", stdout=subprocess.PIPE, stderr=terminal)

    os.close(terminal)
    shown = os.read(master, 100_000).decode()
    os.close(master)
    assert (result.returncode, result.stdout) == (0, b"n\n1\n")
    assert "running for" in shown
    assert "0 rows" in shown


MEMORY = """
import resource, sys
from headrace.cli import command
code = command(sys.argv[1:])
sys.stderr.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))
sys.exit(code)
"""


@pytest.mark.parametrize("form", [["--csv"], ["--json"], ["--parquet", "-"], []])
def test_memory_does_not_grow_with_the_rows(access: object, filled_dir: Path, form: list[str]) -> None:
    """480,000 rows more take about 100 MiB as objects."""

    def peak_mib(rows: int) -> int:
        statement = f"select n, repeat('x', 100) as text from generate_series(1, {rows}) n"
        command = [sys.executable, "-c", MEMORY, "sql", statement, *form, "--data-dir", str(filled_dir)]
        result = subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        return int(result.stderr.split()[-1])

    assert peak_mib(600_000) - peak_mib(120_000) < 40
