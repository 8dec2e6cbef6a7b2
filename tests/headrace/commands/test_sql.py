"""`headrace sql`: what it gives, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from headrace.cli import command
from headrace.database.access import opened, prepare
from headrace.database.embedded import EmbeddedPostgres
from shared.settings.sections import Settings

Headrace = Callable[..., tuple[int, str, str]]


def test_sql_as_json_gives_columns_and_rows(headrace: Headrace) -> None:
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


def test_sql_as_csv_gives_all_rows(headrace: Headrace) -> None:
    _, out, _ = headrace("sql", "select market, amount from transactions order by 2", "--csv")

    assert list(csv.reader(io.StringIO(out))) == [["market", "amount"], ["win", "250"], ["trifecta", "1230"]]


def test_a_column_that_comes_twice_gets_a_number(headrace: Headrace) -> None:
    _, out, _ = headrace("sql", "select 1 as n, 2 as n", "--json")

    assert json.loads(out) == {"columns": ["n", "n_2"], "rows": [{"n": 1, "n_2": 2}]}


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("selec 1", "syntax error"),
        ("select * from sesions", "lists the views"),
        ("select * from facts.events", "only reads the analytics views"),
        ("create table x (y int)", "only reads"),
        ("select 1; select 2", "one statement at a time"),
        ("set statement_timeout = 0", "gives no rows"),
    ],
)
def test_a_bad_statement_is_answered_in_one_line(headrace: Headrace, statement: str, said: str) -> None:
    code, out, err = headrace("sql", statement)

    assert (code, out) == (1, "")
    assert said in err
    assert err.count("\n") == 1


def test_a_statement_that_takes_too_long_is_cut_off(headrace: Headrace) -> None:
    code, _, err = headrace("sql", "select pg_sleep(30)", "--timeout", "0.05")

    assert code == 1
    assert "--timeout" in err


def test_sql_starts_the_server_and_stops_it_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with opened(settings) as access:
        prepare(access, settings)

    code = command(["sql", "select count(*) from events", "--json", "--data-dir", str(settings.data_dir)])

    assert code == 0
    assert json.loads(capfd.readouterr().out)["rows"] == [{"count": 0}]
    assert not EmbeddedPostgres(settings.data_dir).answers()
