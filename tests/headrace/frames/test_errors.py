"""Errors name the view, the column, the likely meant one, and what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.database.embedded import EmbeddedPostgres
from headrace.frames import (
    BadArgument,
    BadStatement,
    DatabaseUnavailable,
    EmbeddedServerNotRunning,
    ExtraMissing,
    FramesError,
    Headrace,
    NoDatabase,
    QueryTimeout,
    UnknownArgument,
    UnknownColumn,
    UnknownView,
    connect,
)
from headrace.frames.catalogue import EVENTS, VIEWS
from headrace.frames.errors import suggestion
from headrace.frames.query import columns_of
from shared.errors import HeadraceError
from tests.services.loader.facts import DAY

Call = Callable[[Any], Any]


def named(method: str, *args: Any, **kwargs: Any) -> Call:
    """A call that mypy would refuse."""
    return lambda hr: getattr(hr, method)(*args, **kwargs)


CASES: list[tuple[Call, type[FramesError], tuple[str, ...]]] = [
    (lambda hr: hr.table("evnts"), UnknownView, ("'evnts'", "did you mean events")),
    (lambda hr: hr.sql("select * from sesions"), UnknownView, ('"sesions"', "did you mean sessions")),
    (lambda hr: hr.events(columns=["evnt_key"]), UnknownColumn, ("events has no column 'evnt_key'", "event_key")),
    (lambda hr: hr.sql("select evnt_key from events"), UnknownColumn, ('"evnt_key"', "event_key")),
    (lambda hr: hr.sql("select e.staatus from events e"), UnknownColumn, ("staatus", "status")),
    (lambda hr: hr.sql("selec 1"), BadStatement, ("syntax error",)),
    (lambda hr: hr.sql("select * from facts.events"), BadStatement, ("facts", "only read the views")),
    (lambda hr: hr.sql(" "), BadStatement, ("empty", "SELECT")),
    (lambda hr: hr.events("2026-13"), BadArgument, ("2026-13", "2026-01-05/2026-01-09")),
    (lambda hr: hr.events("2026-01", day="2026-01-01"), BadArgument, ("exclude each other",)),
    (lambda hr: hr.table("events", venue="seven"), BadArgument, ("venue=7", "'seven'")),
    (lambda hr: hr.events(venue=[]), BadArgument, ("venue is empty",)),
    (lambda hr: hr.events(columns="status"), BadArgument, ("list of names", "'status'")),
    (lambda hr: hr.table("venues", "2026"), BadArgument, ("venues", "days")),
    (lambda hr: hr.table("events", market="win"), BadArgument, ("events", "'market'")),
    (lambda hr: hr.predictions(head="reslt"), BadArgument, ("'reslt'", "result")),
    (lambda hr: hr.table("predictions", shadow="yes"), BadArgument, ("boolean", "'yes'")),
    (lambda hr: hr.sessions(source="a\0b"), BadArgument, ("printable",)),
    (named("events", venu=3), UnknownArgument, ("events has no argument 'venu'", "did you mean venue")),
    (lambda hr: hr.table("events", venu=3), BadArgument, ("events", "'venu'", "did you mean venue")),
    (
        lambda hr: named("events", venu=3)(hr.as_of("2031-05-06T12:00Z")),
        UnknownArgument,
        ("events", "did you mean venue"),
    ),
    (named("predictions", modl="live"), UnknownArgument, ("predictions", "did you mean model")),
    (named("features", dya="2031-05-06"), UnknownArgument, ("features", "did you mean day")),
    (lambda hr: hr.events(DAY).headrace.wide(deep=1), UnknownArgument, ("wide has no argument 'deep'",)),
    (lambda hr: hr.events(DAY).headrace.by(group="month"), UnknownArgument, ("by has no argument", "groups")),
    (named("events", DAY, 7), UnknownArgument, ("events: too many positional arguments", "venue=None")),
    (named("history"), UnknownArgument, ("history: missing a required argument: 'event'",)),
]


@pytest.mark.parametrize(("call", "kind", "parts"), CASES)
def test_a_bad_call_is_explained(hr: Headrace, call: Call, kind: type[FramesError], parts: tuple[str, ...]) -> None:
    with pytest.raises(kind) as raised:
        call(hr)

    assert [part for part in parts if part not in str(raised.value)] == []
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, HeadraceError)


def test_a_query_that_takes_too_long_names_the_limit(hand_made: str) -> None:
    with connect(hand_made, timeout_s=0.05) as client, pytest.raises(QueryTimeout, match=r"0\.05 s.*timeout_s"):
        client.sql("select pg_sleep(30)")


def test_a_statement_cannot_raise_its_own_limit(hand_made: str) -> None:
    with connect(hand_made, timeout_s=0.05) as client, pytest.raises(QueryTimeout):
        client.sql("select set_config('statement_timeout', '0', false), pg_sleep(30)")


def test_a_missing_data_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoDatabase, match=r"no data directory .*/nowhere.*headrace run"):
        connect(data_dir=tmp_path / "nowhere")

    assert not (tmp_path / "nowhere").exists()


def test_a_directory_without_database_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoDatabase, match=r"no database in .*headrace run"):
        connect(data_dir=tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_connect_starts_no_server(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")

    with pytest.raises(EmbeddedServerNotRunning, match=r"not running.*headrace run --data-dir"):
        connect(data_dir=tmp_path)

    assert not EmbeddedPostgres(tmp_path).accepts_connections()


def test_a_database_without_headrace_is_named(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(NoDatabase, match=r"not prepared for Headrace.*headrace migrate"):
        connect(postgres.url_with_password(database="template1"))


def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1 as reader") as raised:
        connect("postgresql://reader:secret@127.0.0.1:1/headrace")

    assert "secret" not in str(raised.value)
    assert "password_file" in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"database": "/some/dir"}, "data_dir"),
        ({"database": "postgresql://a@b/c", "data_dir": "x"}, "exclude each other"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"databse": "x"}, "connect has no argument 'databse'; did you mean database"),
        ({"zone": "Tokio"}, "Asia/Tokyo"),
        ({"database": "postgresql://a:secret@b/c?nope=1"}, "a@b"),
    ],
)
def test_bad_arguments_of_connect_are_explained(arguments: dict[str, Any], part: str) -> None:
    with pytest.raises(BadArgument, match=part) as raised:
        connect(**arguments)

    assert "secret" not in str(raised.value)


def test_a_lost_connection_is_reported_and_opened_again(hand_made: str) -> None:
    with connect(hand_made) as client, connect(hand_made) as owner:
        pid = int(client.sql("select pg_backend_pid() as pid").pid[0])
        owner.sql(f"select set_config('role', 'none', true), pg_terminate_backend({pid}, 60000)")

        with pytest.raises(DatabaseUnavailable, match="connection to the database was lost"):
            client.events()

        assert len(client.events()) > 0


def test_polars_that_is_not_installed_is_named(hr: Headrace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)

    with pytest.raises(ExtraMissing, match="pip install polars"):
        hr.polars("events")


@given(st.sampled_from([name for view in VIEWS.values() for name in view.names]), st.data())
def test_a_name_with_one_wrong_letter_is_recognised(name: str, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(name) - 1))
    wrong = name[:position] + "#" + name[position + 1 :]
    candidates = sorted({each for view in VIEWS.values() for each in view.names if len(name) >= 4 or each == name})

    assert "did you mean" in suggestion(wrong, candidates) or len(name) < 4


@given(st.text(min_size=1, max_size=30).filter(lambda name: name not in EVENTS.names))
def test_any_unknown_column_is_an_unknown_column(name: str) -> None:
    with pytest.raises(UnknownColumn, match="events has no column"):
        columns_of(EVENTS, [name])
