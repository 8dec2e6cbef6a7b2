"""The command `headrace alerts` against the notifier's API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.cli import command
from headrace.database.embedded import EmbeddedPostgres
from services.notifier.alerts import postgres_incidents as storage
from services.notifier.alerts.conditions import Condition
from services.notifier.storage.postgres_mutes import active_mutes
from tests.services.apps import server_of
from tests.services.notifier.books import default_book
from tests.shared.runtime.api.admin_apps import FILE_TOKEN, as_role, write_token_file

Database = psycopg.Connection[Any]
Alerts = Callable[..., tuple[int, str, str]]


@pytest.fixture
def alerts(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[Alerts]:
    login = as_role(postgres, database_url, "headrace_notifier")
    with server_of("notifier", database_url, login, tmp_path, FILE_TOKEN) as server:

        def run(*arguments: str) -> tuple[int, str, str]:
            capfd.readouterr()
            options = ["--url", server.url, "--token-file", str(write_token_file(tmp_path))]
            code = command(["alerts", *arguments, *options])
            return code, *capfd.readouterr()

        yield run


@pytest.fixture
def incident(database: Database) -> int:
    condition = Condition("dead-letters", "cleaner", "warning", {"new": 12, "open": 30, "cause": "InvalidEvent"})
    opened = storage.open_incident(database, "dead-letters", condition, ["console"], default_book())
    assert opened is not None
    return opened.id


def test_open_alerts_are_listed(alerts: Alerts, incident: int) -> None:
    code, out, _ = alerts("list")

    assert code == 0
    assert [word for word in ("open", "warning", "dead-letters", "cleaner") if word not in out] == []
    assert json.loads(alerts("list", "--output", "json")[1])["incidents"][0]["id"] == incident


def test_resolved_alerts_are_listed_on_request(alerts: Alerts, incident: int, database: Database) -> None:
    storage.resolve_incident(database, next(iter(storage.open_incidents(database).values())), [], default_book())

    assert alerts("list")[1] == "no alerts\n"
    assert "dead-letters" in alerts("list", "--all")[1]
    assert "dead-letters" in alerts("list", "--state", "resolved")[1]


def test_an_alert_is_acknowledged(alerts: Alerts, incident: int) -> None:
    code, out, _ = alerts("acknowledge", str(incident))

    assert (code, out) == (0, f"incident {incident} (dead-letters, cleaner): acknowledged by file token\n")
    assert "acknowledged" in alerts("list")[1]


def test_an_unknown_alert_is_not_acknowledged(alerts: Alerts) -> None:
    code, _, err = alerts("acknowledge", "4711")

    assert (code, "there is no incident 4711" in err) == (1, True)


def test_a_rule_is_muted_and_unmuted(alerts: Alerts, database: Database) -> None:
    assert alerts("mutes")[1] == "no mutes\n"

    muted = alerts("mute", "stage-down", "--for", "2h")
    listed = alerts("mutes")
    unmuted = alerts("unmute", "stage-down")

    assert muted[1].startswith("stage-down is muted until ")
    assert "stage-down" in listed[1]
    assert unmuted[1] == "stage-down is no longer muted\n"
    assert active_mutes(database) == []


def test_only_existing_rules_are_muted_and_only_muted_ones_unmuted(alerts: Alerts) -> None:
    assert alerts("mute", "pigeon", "--for", "2h")[0] == 2
    assert "stage-down is not muted" in alerts("unmute", "stage-down")[2]
