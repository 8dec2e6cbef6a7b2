"""`headrace sql`: the forms of its rows, and refused statements."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

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

    assert (code, err) == (2, "headrace: --csv, --json and --output: choose one\n")
