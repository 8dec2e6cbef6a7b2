"""The notifier's settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from services.notifier.addresses import by_name, kind_of, parse_address
from services.notifier.kinds import FindingKind
from shared.errors import ConfigError
from shared.loopback import is_loopback
from shared.settings.sections import ServiceSettings
from shared.settings.values import SecretFile, Section

BOT = "discord-bot"
PersonScope = Literal["read", "operate"]
PERSON_SCOPES = ("read", "operate")
# One mailbox in ASCII, without a display name, and nothing that could end a header or a command.
_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")


def _address(text: str) -> str:
    if text == BOT:  # stands for bot_channel
        return text
    try:
        return str(parse_address(text))
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _mail_address(text: str) -> str:
    if not _MAIL_ADDRESS.fullmatch(text):
        raise ValueError(f"expected a mail address such as person@example.org, got {text!r}")
    return text


def _mail_recipient(text: str) -> str:
    for addresses in by_name([text]).values():
        for address in addresses:
            _mail_address(address)
    return text


def _named_file(text: str) -> str:
    by_name([text])
    return text


Address = Annotated[str, AfterValidator(_address)]
NamedFile = Annotated[str, AfterValidator(_named_file)]
MailRecipient = Annotated[str, AfterValidator(_mail_recipient)]


def _safe_url(url: str, secure: str, plain: str) -> str:
    """The bot's token is sent to this address: encrypted, or to this machine."""
    parts = urlsplit(url)
    if not parts.hostname or not (parts.scheme == secure or (parts.scheme == plain and is_loopback(parts.hostname))):
        raise ValueError(f"expected {secure}://HOST ({plain}:// is allowed only for this machine)")
    return url


def _role_scope(text: str) -> tuple[int, PersonScope]:
    number, _, scope = text.partition("=")
    if not number.isdecimal() or scope not in PERSON_SCOPES:
        raise ValueError(f"expected ID=operate or ID=read with the id of a role, got {text!r}")
    return int(number), "operate" if scope == "operate" else "read"


def _checked_role_scope(text: str) -> str:
    _role_scope(text)
    return text


RoleScope = Annotated[str, AfterValidator(_checked_role_scope)]
DiscordUrl = Annotated[str, AfterValidator(lambda url: _safe_url(url, "https", "http"))]
GatewayUrl = Annotated[str, AfterValidator(lambda url: _safe_url(url, "wss", "ws"))]
# Discord's ids are unsigned 64-bit integers.
Snowflake = Annotated[int, Field(gt=0, lt=2**64)]


class NotifierSection(Section):
    channels: tuple[Address, ...] = Field(
        default=("console",),
        description="addresses to which notifications are sent: `console`, `discord`, `webhook`, `slack`, `email`,"
        " or one of several destinations as `slack/NAME`, `email/NAME`, `webhook/NAME`; separated by commas in the"
        " environment",
    )
    discord_webhook_file: SecretFile | None = Field(default=None, description="file with the URL of a Discord webhook")
    webhook_url_file: SecretFile | None = Field(
        default=None, description="file with the URL to which messages are posted"
    )
    webhook_url_files: tuple[NamedFile, ...] = Field(
        default=(), description="NAME=FILE for the address `webhook/NAME`; separated by commas in the environment"
    )
    slack_webhook_files: tuple[NamedFile, ...] = Field(
        default=(),
        description="files with the URL of an incoming webhook of Slack or Mattermost: FILE for the address `slack`,"
        " NAME=FILE for `slack/NAME`; separated by commas in the environment",
    )
    email_host: str | None = Field(default=None, min_length=1, max_length=255, description="mail server")
    email_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="its port; default: 587 with `starttls`, 465 with `tls`, 25 with `none`",
    )
    email_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="encryption of the connection; `none` is allowed only for this machine"
    )
    email_user: str | None = Field(default=None, description="user of the mail server")
    email_password_file: SecretFile | None = Field(default=None, description="file that contains the user's password")
    email_ca_file: Path | None = Field(
        default=None, description="CA certificates to trust instead of the system's (PEM)"
    )
    email_from: Annotated[str, AfterValidator(_mail_address)] | None = Field(
        default=None, description="mail address of the sender"
    )
    email_to: tuple[MailRecipient, ...] = Field(
        default=(),
        description="recipients: MAIL-ADDRESS for the address `email`, NAME=MAIL-ADDRESS for `email/NAME`; separated by"
        " commas in the environment",
    )
    email_digest_every_s: float = Field(
        default=300, ge=1, description="what comes within this time for the same recipients is sent as one mail"
    )
    rules_file: Path | None = Field(
        default=None,
        description="file with the rules: what is notified, where and when (docs/notifications.md); default: the rules"
        " that ship with Headrace",
    )
    tip_probability: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="lowest win probability of the favourite for which a prediction is notified, unless a rule has a"
        " threshold",
    )
    big_amount: int = Field(
        default=50_000, ge=1, description="lowest payout per 100 staked that is notified, unless a rule has a threshold"
    )
    summary_patience_s: float = Field(
        default=300, gt=0, description="maximum wait of a summary for records that are not loaded yet"
    )
    crash_policy: Literal["park", "retry"] = Field(
        default="park",
        description="what happens to a message of unknown delivery, because the sender died while sending it or the"
        " channel gave no clear answer: `park` keeps it for a person to decide, `retry` sends it again",
    )

    bot_token_file: SecretFile | None = Field(
        default=None, description="file with the token of a Discord bot; starts the bot (docs/notifications.md)"
    )
    bot_guild_id: Snowflake | None = Field(default=None, description="id of the Discord server that the bot serves")
    bot_channel: Snowflake | None = Field(
        default=None, description="id of the channel for notifications of the bot whose rule names no channel"
    )
    bot_board_channel: Snowflake | None = Field(
        default=None, description="id of the channel in which the bot keeps a pinned status board"
    )
    bot_roles: tuple[RoleScope, ...] = Field(
        default=(),
        description="scopes of roles in the server as ID=operate or ID=read, separated by commas in the environment;"
        " everybody in the server may read",
    )
    bot_api_token_file: SecretFile | None = Field(
        default=None,
        description="file with a token for the services' API, with which the bot acts on behalf of people"
        " (`headrace token create bot --scope operate --delegate`)",
    )
    discord_base_url: DiscordUrl = Field(
        default="https://discord.com/api/v10", description="address of Discord's API; change it for a proxy or a test"
    )
    discord_gateway_url: GatewayUrl | None = Field(
        default=None, description="address of Discord's gateway; default: Discord's own"
    )

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of rules that name no channel."""
        bot = f"{BOT}/channel/{self.bot_channel}"
        return tuple(dict.fromkeys(bot if address == BOT else address for address in self.channels))

    @property
    def role_scopes(self) -> dict[int, PersonScope]:
        """The scope by id of a role."""
        return dict(map(_role_scope, self.bot_roles))

    @property
    def bot_addresses(self) -> tuple[str, ...]:
        """The bot's channel, if it has one."""
        return () if self.bot_channel is None else (f"{BOT}/channel/{self.bot_channel}",)

    @property
    def thresholds(self) -> Mapping[FindingKind, float]:
        """The thresholds of rules that give none."""
        return {"tip": self.tip_probability, "big-payout": self.big_amount}

    @model_validator(mode="after")
    def _check_bot(self) -> Self:
        if self.bot_token_file is not None and self.bot_guild_id is None:
            raise ValueError("bot_token_file needs bot_guild_id: the id of the server that the bot serves")
        if BOT in self.channels and self.bot_channel is None:
            raise ValueError("the channel discord-bot needs bot_channel: the id of a channel in the server")
        if self.bot_token_file is None and any(kind_of(address) == BOT for address in self.channels):
            raise ValueError("the channel discord-bot needs bot_token_file: the file with the token of a Discord bot")
        return self

    @field_validator("channels", "webhook_url_files", "slack_webhook_files", "email_to", "bot_roles", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_email(self) -> Self:
        if (self.email_user is None) != (self.email_password_file is None):
            raise ValueError("email_user and email_password_file must be set together")
        if (self.email_host is None) != (self.email_from is None):
            raise ValueError("email_host and email_from must be set together")
        if self.email_host is not None and self.email_security == "none" and not is_loopback(self.email_host):
            raise ValueError("email_security: the connection to another machine must be encrypted: starttls or tls")
        return self


class NotifierSettings(ServiceSettings):
    name: ClassVar[str] = "notifier"
    notifier: NotifierSection = Field(default=NotifierSection(), description="which notifications are sent, and where")
