"""The notifier's endpoints over HTTP: a test message, the list of notifications, decisions about undelivered ones."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest

from headrace.cli import command
from headrace.database.embedded import EmbeddedPostgres
from services.notifier.api.destinations import Destinations
from services.notifier.api.notifications import delivery_progress, router
from services.notifier.channels.console import ConsoleChannel
from services.notifier.channels.email import EmailChannel, MailServer
from services.notifier.channels.secret_url import SecretUrl
from services.notifier.channels.slack import SlackChannel
from services.notifier.settings import NotifierSection, NotifierSettings
from services.notifier.storage.postgres_claims import claim
from services.notifier.storage.postgres_ledger import NewNotification, record_notifications
from services.notifier.storage.postgres_sending_hold import close_address, read_closed, take_trial
from shared.ops.tables import operations as operations_table
from shared.runtime.process.operation_poller import OperationProgress
from tests.services.endpoints import finished_operation, served, settings_of
from tests.services.notifier.books import default_book
from tests.services.notifier.http_receiver import Answer, Receiver
from tests.services.notifier.mail_server import mail_server
from tests.services.notifier.sending import sending
from tests.shared.runtime.api.admin_apps import assert_problem

Connection = psycopg.Connection[Any]
Headrace = Callable[..., tuple[int, str, str]]
CONSOLE = Destinations(NotifierSection(), ["console"], default_book)


def test_a_test_message_is_sent_and_its_operation_ends(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path
) -> None:
    settings = settings_of(NotifierSettings, postgres, database_url, tmp_path)
    out = io.StringIO()
    with served(settings, lambda context: router(context, CONSOLE)) as client:
        with sending(settings.database.conninfo(), ConsoleChannel(out)):
            operation = finished_operation(client, client.post("/test", json={}), settings, "test", delivery_progress)
            sent = client.get("/notifications", params={"state": "sent"}).json()

        assert (operation["state"], operation["counts"]) == ("succeeded", {"console": "sent"})
        assert [each["rule"] for each in sent["notifications"]] == ["test"]
        assert operation["id"] in out.getvalue()
        response = client.post("/test", json={"channels": ["pigeon"]})
        assert "'pigeon'" in assert_problem(response, 422, "invalid-input")


def test_a_test_message_is_sent_by_mail_and_to_slack(
    postgres: EmbeddedPostgres, database_url: str, tmp_path: Path, receiver: Receiver
) -> None:
    settings = settings_of(NotifierSettings, postgres, database_url, tmp_path)
    receiver.usual = Answer(200, b"ok")
    slack = SlackChannel({"": SecretUrl(receiver.url)})
    section = NotifierSection(
        channels=("slack",), slack_webhook_files=("unused",), email_host="127.0.0.1", email_from="h@example.org",
        email_security="none", email_to=("night=a@example.org",),
    )  # fmt: skip
    destinations = Destinations(section, ["slack", "email"], default_book)
    with mail_server() as box, served(settings, lambda context: router(context, destinations)) as client:
        server = MailServer("127.0.0.1", box.port, "h@example.org", "none")
        with sending(settings.database.conninfo(), slack, EmailChannel(server, lambda _: ["a@example.org"])):
            response = client.post("/test", json={"channels": ["email/night", "slack"]})
            operation = finished_operation(client, response, settings, "test", delivery_progress)

    assert (operation["state"], operation["counts"]) == ("succeeded", {"email/night": "sent", "slack": "sent"})
    assert operation["id"] in str(box.mails[0]["Subject"])
    assert operation["id"] in receiver.seen[0].body["text"]


def headrace_of(client: httpx2.Client, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Headrace:
    """Runs `headrace notifications` on this service."""
    url, token = str(client.base_url).removesuffix("/v1/"), str(tmp_path / "token")

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = command(["notifications", *arguments, "--url", url, "--token-file", token])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def client(postgres: EmbeddedPostgres, database_url: str, tmp_path: Path) -> Iterator[httpx2.Client]:
    settings = settings_of(NotifierSettings, postgres, database_url, tmp_path)
    with served(settings, lambda context: router(context, CONSOLE)) as client:
        yield client


def record_in_state(database: Connection, state: str, address: str = "console") -> int:
    record_notifications(database, [NewNotification(uuid4(), "tip", "k", "hello")], [address])
    update = "UPDATE notifier.ledger SET state = %s WHERE id = (SELECT max(id) FROM notifier.ledger) RETURNING id"
    row = database.execute(update, (state,)).fetchone()
    assert row is not None
    return int(row[0])


def trail(client: httpx2.Client) -> list[tuple[str, str, str]]:
    lines = client.get("/audit").json()["lines"]
    return [(line["action"], line["target"], line["outcome"]) for line in reversed(lines)]


def test_a_notification_is_listed_with_its_address_and_selected_by_kind_and_address(
    client: httpx2.Client, database: Connection
) -> None:
    record_in_state(database, "expired", "slack/races")

    (listed,) = client.get("/notifications", params={"channel": "slack", "state": "expired"}).json()["notifications"]

    assert (listed["channel"], listed["address"], listed["state"]) == ("slack", "slack/races", "expired")
    assert len(client.get("/notifications", params={"channel": "slack/races"}).json()["notifications"]) == 1
    assert client.get("/notifications", params={"channel": "slack/ops"}).json()["notifications"] == []


@pytest.mark.parametrize("state", ["failed", "unknown", "expired"])
def test_an_undelivered_notification_is_sent_once_more(client: httpx2.Client, database: Connection, state: str) -> None:
    id_ = record_in_state(database, state)

    first = client.post(f"/notifications/{id_}/retry")
    again = client.post(f"/notifications/{id_}/retry")

    assert (first.status_code, first.json()["state"]) == (200, "pending")
    assert (again.status_code, again.json()["state"]) == (200, "pending")
    assert len(claim(database, "console")) == 1
    assert trail(client)[-2:] == [("retry-notification", str(id_), "accepted")] * 2


@pytest.mark.parametrize("state", ["failed", "unknown", "expired"])
def test_an_undelivered_notification_can_be_discarded(client: httpx2.Client, database: Connection, state: str) -> None:
    id_ = record_in_state(database, state)

    discarded = client.post(f"/notifications/{id_}/discard", json={"reason": "it arrived"})
    again = client.post(f"/notifications/{id_}/discard", json={"reason": "again"})

    assert (discarded.status_code, discarded.json()["state"]) == (200, "expired")
    assert again.json() == discarded.json()
    if state != "expired":
        assert discarded.json()["error"].endswith(": it arrived")
    assert not claim(database, "console")


@pytest.mark.parametrize("action", ["retry", "discard"])
def test_a_sent_notification_stays_sent(client: httpx2.Client, database: Connection, action: str) -> None:
    id_ = record_in_state(database, "sent")

    response = client.post(f"/notifications/{id_}/{action}", json={"reason": "x"} if action == "discard" else None)

    assert f"notification {id_} is sent" in assert_problem(response, 409, "conflict")
    assert trail(client)[-1][2].startswith("refused (409)")


def test_an_unknown_notification_is_a_404(client: httpx2.Client) -> None:
    assert_problem(client.post("/notifications/99/retry"), 404, "not-found")


def test_the_command_lists_retries_and_discards(
    client: httpx2.Client, database: Connection, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    headrace = headrace_of(client, tmp_path, capfd)
    unknown, failed = (record_in_state(database, state) for state in ("unknown", "failed"))

    code, listed, _ = headrace("list", "--state", "unknown", "--output", "json")
    assert (code, [each["id"] for each in json.loads(listed)["notifications"]]) == (0, [unknown])
    assert headrace("retry", str(failed)) == (0, f"notification {failed} to console: pending\n", "")
    assert headrace("discard", str(unknown), "--reason", "seen") == (
        0, f"notification {unknown} to console: expired\n", "",
    )  # fmt: skip
    code, _, error = headrace("retry", "x")
    assert (code, error) == (2, "headrace: ID x: expected a number, as `headrace notifications list` shows it\n")


def test_the_command_holds_discards_and_releases_all_messages(
    client: httpx2.Client, database: Connection, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    headrace = headrace_of(client, tmp_path, capfd)
    for state in ("pending", "unknown", "failed"):
        record_in_state(database, state)
    database.execute("UPDATE notifier.ledger SET created_at = '2026-01-31T12:00:00Z'")
    record_in_state(database, "pending")

    assert headrace("hold", "--reason", "a standby was promoted") == (
        0, "2 messages wait, held until `headrace notifications release`\n", "",
    )  # fmt: skip
    code, _, note = headrace("list")
    assert code == 0
    assert "a standby was promoted" in note
    assert headrace("discard", "--until", "2026-01-31T21:00:00+09:00", "--reason", "they arrived") == (
        0, "2 messages were discarded; 1 messages wait, held until `headrace notifications release`\n", "",
    )  # fmt: skip
    assert headrace("release") == (0, "1 messages wait, being sent\n", "")
    assert headrace("list")[2] == ""

    states = database.execute("SELECT state, error FROM notifier.ledger ORDER BY id").fetchall()
    assert [state for state, _ in states] == ["expired", "expired", "failed", "pending"]
    assert states[0][1].endswith(": they arrived")
    assert [line for line in trail(client) if line[1] != "1"] == [
        ("hold-notifications", "all", "accepted"),
        ("discard-notifications", "until 2026-01-31T21:00:00+09:00", "accepted"),
        ("release-notifications", "all", "accepted"),
    ]


@pytest.mark.parametrize("arguments", [[], ["3", "--until", "now"]])
def test_a_discard_needs_an_id_or_a_time(
    client: httpx2.Client, tmp_path: Path, capfd: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    code, _, error = headrace_of(client, tmp_path, capfd)("discard", *arguments, "--reason", "x")

    assert (code, error) == (2, "headrace: which messages? Expected an ID or --until TIME\n")


def test_a_closed_channel_is_listed_with_its_cause_and_opened(
    client: httpx2.Client, database: Connection, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    headrace = headrace_of(client, tmp_path, capfd)
    for address in ("slack/races", "slack/ops", "console"):
        record_in_state(database, "pending", address)
        close_address(database, address, f"{address} answered HTTP 404")

    closed = client.get("/notifications").json()["closed"]
    note = headrace("list")[2]
    assert [(each["address"], each["waiting"]) for each in closed] == [
        ("console", 1), ("slack/ops", 1), ("slack/races", 1),
    ]  # fmt: skip
    assert "slack/ops answered HTTP 404; `headrace notifications release --channel slack/ops` sends again" in note
    assert headrace("release", "--channel", "slack") == (
        0, "3 messages wait, being sent, except to console, which are closed\n", "",
    )  # fmt: skip
    assert headrace("discard", "--until", "now", "--channel", "console", "--reason", "not used")[1].startswith("1 mess")
    assert [each.address for each in read_closed(database)] == ["console"]
    assert ("release-notifications", "slack", "accepted") in trail(client)


def test_a_test_message_waits_for_the_reply_of_a_closed_channel(
    postgres: EmbeddedPostgres, database_url: str, database: Connection, tmp_path: Path
) -> None:
    settings = settings_of(NotifierSettings, postgres, database_url, tmp_path)
    section = NotifierSection(channels=("slack",), slack_webhook_files=("unused",))
    destinations = Destinations(section, ["slack"], default_book)
    close_address(database, "slack", "HTTP 404")
    with served(settings, lambda context: router(context, destinations)) as client:
        operation = client.post("/test", json={"channels": ["slack"]}).json()["id"]

        def progress() -> OperationProgress | None:
            started = operations_table.get(database, operation)
            assert started is not None
            return delivery_progress(database, started)

        assert take_trial(database, "slack", [], 60.0, 3_600.0) == "slack"
        sending = progress()
        close_address(database, "slack", "HTTP 410")
        refused = progress()
    assert sending is not None
    assert sending.final_state is None
    assert sending.counts == {"slack": "pending"}
    assert refused is not None
    assert (refused.final_state, refused.error) == ("failed", "slack: HTTP 410")


def test_a_test_message_tries_a_closed_channel_at_once_and_says_that_it_is_closed(
    postgres: EmbeddedPostgres, database_url: str, database: Connection, tmp_path: Path, receiver: Receiver
) -> None:
    settings = settings_of(NotifierSettings, postgres, database_url, tmp_path)
    receiver.usual = Answer(404)
    section = NotifierSection(channels=("slack",), slack_webhook_files=("unused",))
    destinations = Destinations(section, ["slack"], default_book)

    def try_it(client: httpx2.Client) -> tuple[str, str]:
        response = client.post("/test", json={"channels": ["slack"]})
        operation = finished_operation(client, response, settings, "test", delivery_progress)
        return operation["state"], operation["counts"]["slack"]

    with (
        served(settings, lambda context: router(context, destinations)) as client,
        sending(settings.database.conninfo(), SlackChannel({"": SecretUrl(receiver.url)})),
    ):
        assert [try_it(client), try_it(client)] == [("failed", "closed")] * 2
        assert [each.waiting for each in read_closed(database)] == [2]
        receiver.usual = Answer(200, b"ok")
        assert try_it(client) == ("succeeded", "sent")
    assert read_closed(database) == []
