"""No command prints a control character of what others wrote into the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from unicodedata import category

import pytest
from psycopg import sql

from headrace.database.access import Access

Command = Callable[..., tuple[int, str, str]]
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\u2028"
TABLES = {
    "ops.audit": {"service": "loader", "who": HOSTILE, "action": HOSTILE, "target": HOSTILE, "outcome": HOSTILE}
    | {"request_id": HOSTILE, "before": f'["{HOSTILE.encode("unicode_escape").decode()}"]'.replace("\\x", "\\u00")},
    "ops.orders": {
        "service": "loader",
        "topic": HOSTILE,
        "desired": "paused",
        "ordered_by": HOSTILE,
        "reason": HOSTILE,
    },
    "ops.operations": {"service": "loader", "kind": HOSTILE, "state": "waiting", "target": "{}"}
    | {"requested_by": HOSTILE, "request_id": HOSTILE, "waiting_for": HOSTILE},
    "ops.tokens": {"id": HOSTILE, "name": HOSTILE, "digest": "", "scope": "read"},
    "ops.replicas": {"service": "loader", "replica": HOSTILE, "pid": "1", "admin_url": HOSTILE, "state": "running"}
    | {"ready": "false", "started_at": "now", "seen_at": "now"},
}


@pytest.fixture
def hostile(access: Access, headrace: Command) -> Iterator[Command]:
    with access.connect() as connection:
        for table, values in TABLES.items():
            names, texts = sql.SQL(", ").join(map(sql.Identifier, values)), map(sql.Literal, values.values())
            connection.execute(
                sql.SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT DO NOTHING").format(
                    sql.Identifier(*table.split(".")), names, sql.SQL(", ").join(texts)
                )
            )
        try:
            yield headrace
        finally:
            connection.execute("SET session_replication_role = replica")  # else no line of the trail can be removed
            for table in TABLES:
                name = sql.Identifier(*table.split("."))
                connection.execute(sql.SQL("DELETE FROM {} AS t WHERE strpos(t::text, 'owned') > 0").format(name))


@pytest.mark.parametrize(
    "arguments",
    [
        ["trail"], ["trail", "--wide"], ["trail", "--output", "json"], ["status"], ["status", "--output", "json"],
        ["token", "list", "--wide"], ["token", "list", "--output", "json"],
    ],
)  # fmt: skip
def test_what_is_stored_is_shown_without_control_characters(hostile: Command, arguments: list[str]) -> None:
    _, out, err = hostile(*arguments)

    assert "owned" in out
    assert _control_characters(out + err) == []


def test_a_query_prints_no_control_characters_of_its_rows(headrace: Command) -> None:
    for options in ([], ["--wide"], ["--json"]):
        code, out, err = headrace("sql", f"select {_literal(HOSTILE)} as {_identifier(HOSTILE)}, 1 as n", *options)

        assert (code, _control_characters(out + err)) == (0, [])


def test_an_error_prints_no_control_characters(headrace: Command) -> None:
    code, _, err = headrace("sql", f"select {_identifier(HOSTILE)} from events")

    assert code == 1
    assert _control_characters(err) == []


def test_a_csv_for_spreadsheets_has_no_formulas(headrace: Command) -> None:
    query = "select '=HYPERLINK(1)' as a, '@x' as b, -1 as c, 'plain' as d"

    assert headrace("sql", query, "--csv")[1] == "a,b,c,d\n=HYPERLINK(1),@x,-1,plain\n"
    assert headrace("sql", query, "--csv", "--excel-safe")[1] == "a,b,c,d\n'=HYPERLINK(1),'@x,-1,plain\n"
    assert headrace("sql", query, "--excel-safe")[0] == 2


def _control_characters(out: str) -> list[str]:
    return [char for char in out if char != "\n" and category(char)[0] == "C"]


def _literal(text: str) -> str:
    return sql.Literal(text).as_string(None)


def _identifier(text: str) -> str:
    return sql.Identifier(text).as_string(None)
