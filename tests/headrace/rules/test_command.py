"""`headrace rules check` and `headrace rules test` from the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from headrace.cli import command
from headrace.database.embedded import OWNER, EmbeddedPostgres
from shared.broker.postgres.broker import PostgresBroker
from tests.headrace.rules.made_up_days import Connection, follow, made_up_days
from tests.services.notifier.books import default_book

RULES = """\
time_zone: Asia/Tokyo
channels:
  races: {kind: discord-bot, channel: "111111111111111111", pace: {burst: 1, every: 2h}}
  console: {kind: console}
rules:
  tip:
    finding: tip
    threshold: 0.05
    venues: [7]
    to: [races, console]
    quiet_hours: {from: "13:00", to: "14:00", then: drop}
    expires: 3h
  daily: {finding: daily}
"""
Headrace = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


@pytest.fixture
def headrace(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Headrace:
    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = command(["rules", *arguments, "--data-dir", str(tmp_path)])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def in_database(postgres: EmbeddedPostgres, database_url: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The options for the test's database."""
    monkeypatch.setenv("HEADRACE_DATABASE__PASSWORD_FILE", str(postgres.password_file(OWNER)))
    name = str(psycopg.conninfo.conninfo_to_dict(database_url)["dbname"])
    return "--database", postgres.url(database=name)


def test_a_check_shows_what_goes_where(headrace: Headrace, file: Path) -> None:
    code, out, err = headrace("check", str(file), "--wide")

    assert code == 0
    lines = [line.split("  ") for line in out.splitlines()]
    assert [each.strip() for each in lines[2] if each.strip()] == [
        "tip", "tip", "0.05", "venues: 7", "discord-bot/channel/111111111111111111, console",
        "13:00 to 14:00, then drop", "3h",
    ]  # fmt: skip
    assert [each.strip() for each in lines[3] if each.strip()] == ["daily", "daily", "console"]
    assert err == f"{file} is valid; quiet hours are in Asia/Tokyo\n"


def test_a_check_shows_thresholds_and_durations_of_alerts(headrace: Headrace, file: Path) -> None:
    file.write_text("rules: {lag: {finding: lag-growing, threshold: 2000, for: 90m}, model: {finding: model-behind}}")

    own = headrace("check", str(file), "--wide")[1].splitlines()[2:]
    shipped = headrace("check", "--wide")[1].splitlines()[8:]

    assert [re.split(" {2,}", line)[2:4] for line in own] == [["2,000 records", "1h30m"], ["0 nats", "1h"]]
    assert [re.split(" {2,}", line)[1:4] for line in shipped] == [
        ["stage-down", "1 replica", "3m"],
        ["partition-held", "1 partition", "10s"],
        ["lag-growing", "500 records", "15m"],
        ["windows-failed", "1 window", "3h"],
        ["window-changed", "1 event", "at once"],
        ["dead-letters", "10 dead letters", "at once"],
        ["model-behind", "0 nats", "1h"],
        ["audit-missing", "26 hours", "at once"],
        ["quality", "1 broken threshold", "at once"],
        ["bot-token", "at once", "console"],
    ]


def test_a_check_reports_every_problem(headrace: Headrace, file: Path) -> None:
    file.write_text(RULES.replace("2h", "2").replace("drop", "wit"))

    code, out, err = headrace("check", str(file))

    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith(f"headrace: {file}:3: channels.races.pace.every: expected a duration")
    assert second == f"{file}:11: rules.tip.quiet_hours.then: expected wait, drop, got 'wit'; did you mean wait?"


def test_the_rules_in_use_are_those_of_the_settings(
    headrace: Headrace, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_NOTIFIER__TIP_PROBABILITY", "0.6")
    shipped = json.loads(headrace("check", "--output", "json")[1])
    monkeypatch.setenv("HEADRACE_NOTIFIER__RULES_FILE", str(file))
    own = json.loads(headrace("check", "--output", "json")[1])

    assert shipped["file"] == "default.yaml"
    assert [(rule["rule"], rule["threshold"]) for rule in shipped["rules"]] == [
        ("tip", 0.6), ("big-payout", 50_000), ("grade", 2), ("surprise", 0.05), ("called-off", 1), ("daily", None),
        ("stage-down", 1), ("partition-held", 1), ("lag-growing", 500), ("windows-failed", 1), ("window-changed", 1),
        ("dead-letters", 10), ("model-behind", 0), ("audit-missing", 26), ("quality", 1), ("bot-token", None),
    ]  # fmt: skip
    assert [rule["rule"] for rule in own["rules"]] == ["tip", "daily"]


def test_a_test_shows_what_would_have_been_sent(
    headrace: Headrace, file: Path, in_database: tuple[str, str], database: Connection, broker: PostgresBroker
) -> None:
    follow(database, broker, made_up_days(2), default_book())
    arguments = ("test", "--from", "2031-05-06", "--to", "2031-05-07", "--file", str(file), *in_database)

    code, out, _ = headrace(*arguments, "--output", "json")
    notifications = json.loads(out)["notifications"]

    assert code == 0
    assert headrace(*arguments, "--output", "json")[1] == out
    assert {(each["rule"], each["address"]) for each in notifications} == {
        ("tip", "discord-bot/channel/111111111111111111"),
        ("tip", "console"),
        ("daily", "console"),
    }
    assert {each["subject"].split(":")[2] for each in notifications if each["rule"] == "tip"} == {"07"}
    assert {each["outcome"] for each in notifications} == {"sent", "expired"}
    assert any(each["digest"] for each in notifications)
    assert [each["at"] for each in notifications] == sorted(each["at"] for each in notifications)
    reasons = {each["reason"] for each in notifications if each["outcome"] == "expired"}
    assert "it is within the quiet hours of the rule tip" in reasons

    code, out, _ = headrace(*arguments)
    assert code == 0
    assert out.splitlines()[0].split()[:5] == ["at", "(UTC)", "rule", "address", "subject"]
    assert len(out.splitlines()) == len(notifications) + 2


def test_days_without_events_select_nothing(
    headrace: Headrace, in_database: tuple[str, str], database: Connection
) -> None:
    code, out, _ = headrace("test", "--from", "2031-05-06", *in_database)

    assert (code, out) == (0, "the rules select nothing of these days\n")


def test_a_test_needs_days_in_order(headrace: Headrace) -> None:
    assert headrace("test")[0] == 2
    code, _, err = headrace("test", "--from", "2031-05-06", "--to", "2031-05-05")

    assert (code, err) == (2, "headrace: --to 2031-05-05 is before --from 2031-05-06\n")
