"""To which addresses a notifier can send by its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.notifier.channel_setup import can_send, configured_kinds
from services.notifier.settings import NotifierSection


@pytest.fixture
def options(tmp_path: Path) -> NotifierSection:
    file = tmp_path / "url"
    file.write_text("https://example.org/hook")
    return NotifierSection(
        discord_webhook_file=file,
        webhook_url_files=(f"night={file}",),
        slack_webhook_files=(str(file), f"night={file}"),
        email_host="mail.example.org",
        email_from="headrace@example.org",
        email_to=("night=person@example.org",),
    )


def test_a_kind_is_configured_if_the_settings_have_its_secrets(options: NotifierSection) -> None:
    assert configured_kinds(options) == ["console", "discord", "webhook", "slack", "email"]
    assert configured_kinds(NotifierSection()) == ["console"]


@pytest.mark.parametrize(
    ("address", "has_recipients", "expected"),
    [
        ("console", False, True),
        ("discord", False, True),
        ("webhook", False, False),
        ("webhook/night", False, True),
        ("slack", False, True),
        ("slack/night", False, True),
        ("slack/day", False, False),
        ("email", False, False),
        ("email/night", False, True),
        ("email/mail", False, False),
        ("email/mail", True, True),
        ("discord-bot/channel/111111111111111111", False, False),
    ],
)
def test_a_destination_must_be_configured(
    options: NotifierSection, address: str, has_recipients: bool, expected: bool
) -> None:
    assert can_send(options, address, has_recipients) is expected


def test_without_settings_only_the_console_is_written_to() -> None:
    assert can_send(NotifierSection(), "console", False)
    assert not can_send(NotifierSection(), "email/mail", True)
