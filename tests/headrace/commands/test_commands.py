"""The commands that look, against a real embedded server in a data directory of its own."""

from __future__ import annotations

import csv
import io
import json
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from headrace.cli import command
from headrace.database.access import Access, opened, prepare
from headrace.database.embedded import EmbeddedPostgres
from shared.broker.contract import NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.settings.sections import Settings

Headrace = Callable[..., tuple[int, str, str]]
FILL = """
INSERT INTO facts.sources (name) VALUES ('made-up');
INSERT INTO facts.venues (source_id, code, name) SELECT id, '7', 'Seven' FROM facts.sources;
INSERT INTO facts.sessions (session_key, source_id, venue_id, date)
    SELECT 'made-up:2026-01-31:07', s.id, v.id, '2026-01-31' FROM facts.sources s, facts.venues v;
INSERT INTO facts.events (event_key, session_id, number, scheduled_at, status)
    SELECT 'made-up:2026-01-31:07:01', id, 1, '2026-01-31 03:00+00', 'settled' FROM facts.sessions;
INSERT INTO facts.transactions SELECT id, 'win', '1', 250, 1 FROM facts.events;
INSERT INTO facts.transactions SELECT id, 'trifecta', '1-2-3', 1230, 1 FROM facts.events;
INSERT INTO facts.dead_letters VALUES ('cleaner', gen_random_uuid(), 'raw-events', 2, 17, 'k', 'InvalidEvent',
    'expected a slot, got 9', 1, now());
INSERT INTO ops.replicas VALUES
    ('loader', 'here-0', 1, 'http://127.0.0.1:1', 'running', true, 5, '{}', now(), now()),
    ('cleaner', 'here-0', 1, 'http://127.0.0.1:2', 'running', true, 0, '{}', now(), now() - interval '1 minute'),
    ('fetcher', 'here-0', 1, 'http://127.0.0.1:3', 'running', true, null,
     '{"windows": {"due": 0, "done": 1, "failed": 1}, "exhausted": true,
       "failed": [{"feed": "results", "date": "2026-01-31", "cause": "no JSON"}]}', now(), now());
"""


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("commands") / "data"


@pytest.fixture(scope="module")
def access(data_dir: Path) -> Iterator[Access]:
    settings = Settings(data_dir=data_dir)
    with opened(settings) as access:
        assert prepare(access, settings) > 0
        with access.connect() as connection:
            connection.execute(FILL.encode())
        yield access


@pytest.fixture
def headrace(access: Access, data_dir: Path, capfd: pytest.CaptureFixture[str]) -> Headrace:
    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = command([*arguments, "--data-dir", str(data_dir)])
        return code, *capfd.readouterr()

    return run


def test_sql_as_json_gives_columns_and_rows(headrace: Headrace) -> None:
    code, out, _ = headrace(
        "sql", "select market, sum(amount) as total, max(e.scheduled_at) as at, null as nothing"
        " from transactions t join events e using (event_key) group by market order by 1", "--json",
    )  # fmt: skip

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


def test_status_lists_every_service_and_only_what_lives(headrace: Headrace) -> None:
    code, out, _ = headrace("status", "--output", "json")

    rows = {row["service"]: row for row in json.loads(out)}
    assert code == 0
    assert list(rows) == ["fetcher", "cleaner", "loader", "predictor", "notifier"]
    assert rows["loader"] == {
        "service": "loader", "replica": "here-0", "pid": 1, "admin_url": "http://127.0.0.1:1", "state": "running",
        "ready": True, "lag_records": 5,
    }  # fmt: skip
    assert rows["cleaner"] == {
        "service": "cleaner", "replica": None, "pid": None, "admin_url": None, "state": "stopped", "ready": False,
        "lag_records": None,
    }  # fmt: skip


def test_status_shows_failed_windows_and_causes_of_dead_letters(headrace: Headrace) -> None:
    _, out, _ = headrace("status")

    assert "results 2026-01-31: no JSON" in out
    assert "cleaner: 1 x InvalidEvent: expected a slot, got 9 (for example raw-events/2/17)" in out


def test_psql_takes_the_uri_and_nothing_secret_is_in_it(headrace: Headrace, access: Access, data_dir: Path) -> None:
    code, out, err = headrace("db", "uri", "--role", "reader")

    assert (code, err) == (0, "")
    assert access.server is not None
    assert access.server.password_file("headrace_reader").read_text().strip() not in out
    with psycopg.connect(out.strip()) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("headrace_reader",)
    assert stat.S_IMODE((data_dir / "secrets" / "pgpass").stat().st_mode) == 0o600


def test_topics_are_listed_with_their_sizes(headrace: Headrace, access: Access) -> None:
    append(access, "raw-events", 3)

    _, out, _ = headrace("topics", "--output", "json")

    rows = {row["topic"]: row for row in json.loads(out)}
    raw = rows["raw-events"]
    assert (raw["partitions"], raw["records"], raw["end"] - raw["begin"]) == (6, raw["end"], raw["records"])
    assert raw["records"] >= 3
    assert raw["bytes"] > 0
    assert rows["predictions"]["records"] == 0


def test_a_record_can_be_found_by_tail_and_looked_at_by_its_place(headrace: Headrace, access: Access) -> None:
    append(access, "clean-events", 2)

    _, out, _ = headrace("topics", "tail", "clean-events", "-n", "1")
    found = json.loads(out)
    _, whole, _ = headrace("topics", "get", *found["place"].split("/"))

    assert found["value"] == {"n": 1}
    assert json.loads(whole) == found


def test_an_offset_that_is_not_there_is_answered_with_those_that_are(headrace: Headrace) -> None:
    code, _, err = headrace("topics", "get", "loader.dlq", "0", "5")

    assert code == 2
    assert "loader.dlq/0 holds no records" in err


def append(access: Access, topic: str, count: int) -> None:
    broker = PostgresBroker(access.owner().conninfo())
    producer = broker.producer("test")
    with producer.unit() as unit:
        unit.append([NewRecord(topic, b"key", json.dumps({"n": n}).encode(), {"schema": b"x/1"}) for n in range(count)])
        unit.commit()
    producer.close()
    broker.close()


def test_looking_where_nothing_ran_says_what_to_do(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    nowhere = str(tmp_path / "nothing")

    assert command(["sql", "select 1", "--data-dir", nowhere]) == 2
    assert command(["db", "uri", "--data-dir", nowhere]) == 2
    assert command(["status", "--data-dir", nowhere]) == 0

    assert capfd.readouterr().err.count("`headrace run` makes one") == 2
    assert not Path(nowhere).exists()


@pytest.mark.parametrize("arguments", [["sttus"], ["run", "--bogus"], ["status", "--output", "yaml"], ["sql"], ["db"]])
def test_a_wrong_call_ends_with_2_and_no_traceback(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert command(arguments) == 2

    assert "Traceback" not in capfd.readouterr().err


def test_sql_starts_the_server_and_stops_it_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    with opened(settings) as access:
        prepare(access, settings)

    code = command(["sql", "select count(*) from events", "--json", "--data-dir", str(settings.data_dir)])

    assert code == 0
    assert json.loads(capfd.readouterr().out)["rows"] == [{"count": 0}]
    assert not EmbeddedPostgres(settings.data_dir).answers()


def test_a_server_whose_socket_lies_elsewhere_starts_again(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)
    for _ in range(2):
        server = EmbeddedPostgres(deep)
        server.start()
        with psycopg.connect(server.url_with_password()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        server.stop()

    assert not server.answers()


def test_a_data_directory_may_be_moved(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "before")
    server.start()
    server.stop()
    (tmp_path / "before").rename(tmp_path / "after")

    moved = EmbeddedPostgres(tmp_path / "after")
    moved.start()
    try:
        with psycopg.connect(moved.url_with_password()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        moved.stop()


def test_the_command_is_installed() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("headrace"), "--help"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0
    assert "status" in done.stdout
