"""The notifier's settings about channels, and the channels that are created from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.notifier.channel_setup import channel_of
from services.notifier.channels.base import ChannelRefused
from services.notifier.channels.email import EmailChannel
from services.notifier.settings import NotifierSection, NotifierSettings
from shared.errors import ConfigError
from shared.settings.sections import DatabaseSettings
from tests.services.notifier.mail_server import mail_server
from tests.services.notifier.samples import message

MAIL = {"email_host": "127.0.0.1", "email_from": "headrace@example.org", "email_security": "none"}


def settings(**options: Any) -> NotifierSettings:
    database = DatabaseSettings(url="postgresql://nobody@127.0.0.1:1/nowhere")
    return NotifierSettings(database=database, notifier=NotifierSection(**options))


def test_channels_are_addresses_separated_by_commas() -> None:
    assert settings(channels="console, slack/ops").notifier.channels == ("console", "slack/ops")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"channels": "console,pigeon"}, "expected a channel among"),
        ({"email_to": "Night Shift=a@b.example"}, "NAME=VALUE"),
        ({"email_to": "a@b.example\r\nBcc: c@d.example"}, "mail address"),
        (MAIL | {"email_from": "Headrace <a@b.example>"}, "mail address"),
        (MAIL | {"email_host": "mail.example.org"}, "must be encrypted"),
        ({"email_host": "127.0.0.1"}, "email_host and email_from"),
        (MAIL | {"email_user": "x"}, "email_user and email_password_file"),
    ],
)
def test_a_setting_with_which_no_mail_could_be_sent_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        settings(**options)


@pytest.mark.parametrize("kind", ["discord", "webhook", "slack", "email"])
def test_a_channel_without_its_destination_is_a_config_error(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"notifier\."):
        channel_of(kind, settings())


def test_slack_has_a_url_for_each_name(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://hooks.example/s3cret")
    channel = channel_of("slack", settings(slack_webhook_files=f"ops={tmp_path / 'url'}"))

    with pytest.raises(ChannelRefused, match="no URL for races"):
        channel.send(message("a", destination="races"))


def test_two_files_for_one_name_are_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://hooks.example/s3cret")

    with pytest.raises(ConfigError, match="one file for each name, got several for slack"):
        channel_of("slack", settings(slack_webhook_files=[str(tmp_path / "url")] * 2))


def test_mail_goes_to_the_recipients_of_the_settings_or_else_of_the_rules() -> None:
    with mail_server() as box:
        options = MAIL | {"email_port": box.port, "email_to": "a@b.example,ops=c@d.example", "email_digest_every_s": 60}
        channel = channel_of("email", settings(**options), {"mail": ["e@f.example"]}.__getitem__)
        for name in ("", "ops", "mail"):
            channel.send(message("a", destination=name))

    assert box.recipients == [["a@b.example"], ["c@d.example"], ["e@f.example"]]
    assert isinstance(channel, EmailChannel)
    assert channel.pace == (1, 1 / 60)
