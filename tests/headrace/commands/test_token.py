"""`headrace token`, with a real database and a service that authenticates the tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.cli import command
from headrace.database.embedded import OWNER, EmbeddedPostgres
from shared.ops.tables import audit as audit_table
from shared.ops.tokens import parse_token
from tests.shared.runtime.api.admin_apps import as_role, auth_headers, cleaner_settings, serve_admin_app

Headrace = Callable[..., tuple[int, str, str]]
Database = psycopg.Connection[Any]


@pytest.fixture
def headrace(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Headrace:
    name = str(psycopg.conninfo.conninfo_to_dict(database_url)["dbname"])
    settings = tmp_path / "headrace.yaml"
    settings.write_text(
        f"database:\n  url: {postgres.url(database=name)}\n  password_file: {postgres.password_file(OWNER)}\n"
        f"data_dir: {tmp_path}\n"
    )

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = command(["token", *arguments, "--config", str(settings)])
        return code, *capfd.readouterr()

    return run


def list_tokens(headrace: Headrace) -> list[dict[str, Any]]:
    _, out, _ = headrace("list", "--output", "json")
    tokens: list[dict[str, Any]] = json.loads(out)
    return tokens


def test_create_prints_only_the_token_and_list_describes_it(headrace: Headrace, database: Database) -> None:
    code, out, err = headrace("create", "night-shift", "--scope", "operate", "--expires", "30d")

    assert code == 0
    assert out.endswith("\n")
    assert parse_token(out[:-1]) is not None
    assert "scope operate" in err
    assert out.strip() not in err
    (description,) = list_tokens(headrace)
    assert (description["name"], description["scope"], description["state"]) == ("night-shift", "operate", "valid")
    assert description["expires_at"] > description["created_at"]


def test_a_delegate_stays_one_when_it_is_rotated_and_the_list_shows_it(headrace: Headrace) -> None:
    _, _, err = headrace("create", "bot", "--scope", "operate", "--delegate")
    headrace("create", "plain", "--scope", "operate")
    headrace("rotate", "bot", "--grace", "0s")

    assert "scope operate, delegate" in err
    assert [(each["name"], each["delegate"]) for each in list_tokens(headrace)] == [
        ("bot", True),
        ("bot", True),
        ("plain", False),
    ]
    table = [line.split() for line in headrace("list")[1].splitlines()]
    column = table[0].index("delegate")
    assert [row[column] for row in table if row[:1] in (["bot"], ["plain"])] == ["yes", "yes", "no"]


def test_json_has_the_token_and_its_description(headrace: Headrace) -> None:
    _, out, err = headrace("create", "n", "--scope", "read", "--output", "json")

    created = json.loads(out)
    assert parse_token(created["token"]) is not None
    assert (created["name"], created["scope"], created["expires_at"], err) == ("n", "read", None, "")


def test_tokens_are_accepted_until_they_expire_or_are_revoked(
    headrace: Headrace, postgres: EmbeddedPostgres, database_url: str
) -> None:
    first = headrace("create", "n", "--scope", "read")[1].strip()
    with serve_admin_app(
        cleaner_settings(as_role(postgres, database_url, "headrace_cleaner"), None), token=None
    ) as client:

        def status_code(token: str) -> int:
            return client.get("/v1/status", headers=auth_headers(token)).status_code

        assert status_code(first) == 200
        second = headrace("rotate", "n", "--grace", "1h")[1].strip()
        assert (status_code(first), status_code(second)) == (200, 200)
        third = headrace("rotate", "n", "--grace", "0s")[1].strip()
        assert (status_code(first), status_code(second), status_code(third)) == (200, 401, 200)
        assert headrace("revoke", "n")[0] == 0
        assert (status_code(first), status_code(second), status_code(third)) == (401, 401, 401)


def test_every_change_is_in_the_trail_and_no_secret_is_stored(headrace: Headrace, database: Database) -> None:
    tokens = [headrace("create", "n", "--scope", "admin")[1], headrace("rotate", "n")[1]]
    headrace("revoke", "n")

    lines = audit_table.list_entries(database, "headrace")
    assert [(line.action, line.target) for line in lines] == [
        ("token revoke", "token:n"),
        ("token rotate", "token:n"),
        ("token create", "token:n"),
    ]
    assert all(re.fullmatch(r"command:.+", line.who) for line in lines)
    stored = database.execute(
        "SELECT string_agg(t, '') FROM (SELECT to_jsonb(a)::text AS t FROM ops.audit a"
        " UNION ALL SELECT to_jsonb(o)::text FROM ops.tokens o) x"
    ).fetchone()
    assert stored is not None
    for token in tokens:
        parts = parse_token(token.strip())
        assert parts is not None
        assert parts.secret not in stored[0]
        assert parts.id in stored[0]


def test_the_table_shows_no_secret(headrace: Headrace) -> None:
    token = headrace("create", "n", "--scope", "read")[1].strip()

    _, out, _ = headrace("list")

    assert token[-43:] not in out
    assert all(word in out for word in ("n", "read", "valid", "never"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("create", "n"), 2, "--scope"),
        (("create", "n", "--scope", "root"), 2, "root"),
        (("create", "a b", "--scope", "read"), 2, "invalid token name"),
        (("create", "n", "--scope", "read", "--expires", "soon"), 2, "invalid duration"),
        (("revoke", "n"), 1, "headrace token list"),
        (("rotate", "n"), 1, "headrace token list"),
    ],
)
def test_a_failure_is_reported_on_standard_error(
    headrace: Headrace, arguments: tuple[str, ...], code: int, message: str
) -> None:
    exit_code, out, err = headrace(*arguments)

    assert (exit_code, out) == (code, "")
    assert message in err


def test_a_name_can_be_used_once(headrace: Headrace) -> None:
    headrace("create", "n", "--scope", "read")

    code, out, err = headrace("create", "n", "--scope", "read")

    assert (code, out) == (1, "")
    assert "rotate or revoke it" in err


def test_without_a_database_there_are_no_tokens(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert command(["token", "list", "--data-dir", str(tmp_path / "none")]) == 2
    assert "`headrace run` makes one" in capfd.readouterr().err
