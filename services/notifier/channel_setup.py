"""Creates the channels from the settings."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.notifier.addresses import by_name, kind_of, place_of
from services.notifier.channels.base import Channel
from services.notifier.channels.console import ConsoleChannel
from services.notifier.channels.discord import DiscordChannel
from services.notifier.channels.email import EmailChannel, MailServer, RecipientsOf
from services.notifier.channels.secret_url import SecretUrl, read_secret_url
from services.notifier.channels.slack import SlackChannel
from services.notifier.channels.webhook import WebhookChannel
from services.notifier.settings import BOT, NotifierSection, NotifierSettings
from shared.errors import ConfigError
from shared.settings.values import read_secret

MAIL_PORTS = {"starttls": 587, "tls": 465, "none": 25}


def no_recipients(_name: str) -> Sequence[str]:
    return ()


def channel_of(kind: str, settings: NotifierSettings, more_recipients: RecipientsOf = no_recipients) -> Channel:
    """Create the channel. Raises ConfigError if its secret files or destinations are not configured or not valid.

    `more_recipients`: the mail addresses of names that the settings do not have.
    """
    options = settings.notifier
    match kind:
        case "console":
            return ConsoleChannel(sys.stdout)
        case "discord":
            if options.discord_webhook_file is None:
                raise _missing_url(kind, "discord_webhook_file")
            return DiscordChannel(read_secret_url(options.discord_webhook_file))
        case "webhook":
            files = [] if options.webhook_url_file is None else [str(options.webhook_url_file)]
            return WebhookChannel(_urls(kind, "webhook_url_file", [*files, *options.webhook_url_files]))
        case "slack":
            return SlackChannel(_urls(kind, "slack_webhook_files", options.slack_webhook_files))
        case "email":
            return _email_channel(options, more_recipients)
        case _:
            raise ConfigError(f"this notifier has no channel {kind!r}")


def create_channels(
    settings: NotifierSettings, more_recipients: RecipientsOf, bot_channel: Channel | None
) -> list[Channel]:
    """The channels of the settings, and every other one that a rule file may name. Raises ConfigError."""
    options = settings.notifier
    kinds = dict.fromkeys(map(kind_of, options.addresses))
    if options.rules_file is not None:
        kinds |= dict.fromkeys(configured_kinds(options))
    own = [channel_of(kind, settings, more_recipients) for kind in kinds if kind != BOT]
    # People may subscribe to direct messages, also if no rule names the bot.
    return own if bot_channel is None else [*own, bot_channel]


def configured_kinds(options: NotifierSection) -> list[str]:
    """The kinds of channels that the settings have everything for."""
    configured = {
        "console": True,
        "discord": options.discord_webhook_file is not None,
        "webhook": options.webhook_url_file is not None or bool(options.webhook_url_files),
        "slack": bool(options.slack_webhook_files),
        "email": options.email_host is not None,
        BOT: options.bot_token_file is not None,
    }
    return [kind for kind, is_configured in configured.items() if is_configured]


def can_send(options: NotifierSection, address: str, has_recipients: bool) -> bool:
    """Whether a channel of `configured_kinds` has the destination of the address.

    `has_recipients`: the mail addresses of the destination are known from elsewhere.
    """
    kind, name = kind_of(address), place_of(address)
    if kind not in configured_kinds(options):
        return False
    match kind:
        case "webhook":
            files = [] if options.webhook_url_file is None else [str(options.webhook_url_file)]
            return name in by_name([*files, *options.webhook_url_files])
        case "slack":
            return name in by_name(options.slack_webhook_files)
        case "email":
            return has_recipients or name in by_name(options.email_to)
        case _:
            return True


def _urls(kind: str, key: str, entries: Sequence[str]) -> Mapping[str, SecretUrl]:
    if not entries:
        raise _missing_url(kind, key)
    files = by_name(entries)
    if twice := sorted(name or kind for name, values in files.items() if len(values) > 1):
        raise ConfigError(f"notifier.{key}: expected one file for each name, got several for {twice[0]}")
    return {name: read_secret_url(Path(values[0])) for name, values in files.items()}


def _missing_url(kind: str, key: str) -> ConfigError:
    return ConfigError(f"channel {kind!r} has no URL: set notifier.{key} to the file that holds it")


def _email_channel(options: NotifierSection, more_recipients: RecipientsOf) -> Channel:
    if options.email_host is None or options.email_from is None:
        raise ConfigError("channel 'email' has no mail server: set notifier.email_host and notifier.email_from")
    password = None if options.email_password_file is None else read_secret(options.email_password_file)
    server = MailServer(
        options.email_host,
        options.email_port or MAIL_PORTS[options.email_security],
        options.email_from,
        options.email_security,
        options.email_user,
        password,
        options.email_ca_file,
    )
    recipients = by_name(options.email_to)
    return EmailChannel(
        server, lambda name: recipients.get(name) or more_recipients(name), options.email_digest_every_s
    )
