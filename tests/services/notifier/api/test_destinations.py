"""Where a test message can be sent by the settings and the rule file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from services.notifier.api.destinations import Destinations
from services.notifier.settings import NotifierSection
from shared.errors import ConfigError
from tests.services.notifier.books import book_of

BOT_CHANNEL = "discord-bot/channel/111111111111111111"
KINDS = ("console", "slack", "email", "discord-bot")


@pytest.fixture
def options(tmp_path: Path) -> NotifierSection:
    file = tmp_path / "secret"
    file.write_text("https://example.org/hook")
    return NotifierSection(
        channels=("console", "slack/night"),
        bot_token_file=file,
        bot_guild_id=222222222222222222,
        bot_channel=111111111111111111,
        slack_webhook_files=(f"night={file}", f"day={file}"),
        email_host="mail.example.org",
        email_from="headrace@example.org",
        email_to=("night=person@example.org",),
    )


def destinations(options: NotifierSection, kinds: Collection[str] = KINDS) -> Destinations:
    book = book_of(channels={"desk": {"kind": "email", "to": ("desk@example.org",)}})
    return Destinations(options, kinds, lambda: book)


def test_the_defaults_are_the_channels_of_the_settings_and_the_one_of_the_bot(options: NotifierSection) -> None:
    assert destinations(options).defaults == ("console", "slack/night", BOT_CHANNEL)
    assert destinations(options, ("console", "slack")).defaults == ("console", "slack/night")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("discord-bot", BOT_CHANNEL),
        (BOT_CHANNEL, BOT_CHANNEL),
        ("discord-bot/user/333333333333333333", "discord-bot/user/333333333333333333"),
        ("slack/day", "slack/day"),
        ("email/night", "email/night"),
        ("email/desk", "email/desk"),
    ],
)
def test_an_address_need_not_be_in_the_channels_of_the_settings(
    options: NotifierSection, text: str, address: str
) -> None:
    assert destinations(options).resolve(text) == address


@pytest.mark.parametrize(
    "text", ["email", "email/nobody", "slack", "webhook", "discord", "discord-bot/x", "pigeon", ""]
)
def test_an_address_that_nothing_sends_to_is_refused(options: NotifierSection, text: str) -> None:
    with pytest.raises(ConfigError, match=repr(text)):
        destinations(options).resolve(text)


@pytest.mark.parametrize("text", ["email/night", "discord-bot"])
def test_a_kind_that_this_process_has_no_channel_for_is_refused(options: NotifierSection, text: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot send to '{text}'"):
        destinations(options, ("console",)).resolve(text)


def test_the_bot_without_a_channel_of_its_own_has_no_address() -> None:
    with pytest.raises(ConfigError, match="expected discord-bot/channel/ID"):
        destinations(NotifierSection()).resolve("discord-bot")
