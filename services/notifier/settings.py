"""The notifier's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from services.notifier.bot.permissions import PersonScope
from shared.loopback import LOOPBACK_HOSTS
from shared.settings.sections import SecretFile, Section, ServiceSettings


def _safe_url(url: str, secure: str, plain: str) -> str:
    """The bot's token is sent to this address: encrypted, or to this machine."""
    parts = urlsplit(url)
    if not parts.hostname or not (
        parts.scheme == secure or (parts.scheme == plain and parts.hostname in LOOPBACK_HOSTS)
    ):
        raise ValueError(f"expected {secure}://HOST ({plain}:// is allowed only for this machine)")
    return url


DiscordUrl = Annotated[str, AfterValidator(lambda url: _safe_url(url, "https", "http"))]
GatewayUrl = Annotated[str, AfterValidator(lambda url: _safe_url(url, "wss", "ws"))]
# Discord's ids are unsigned 64-bit integers.
Snowflake = Annotated[int, Field(gt=0, lt=2**64)]


class NotifierSection(Section):
    channels: tuple[Literal["console", "discord", "discord-bot", "webhook"], ...] = Field(
        default=("console",),
        description="channels to which notifications are sent; separated by commas in the environment",
    )
    discord_webhook_file: SecretFile | None = Field(default=None, description="file with the URL of a Discord webhook")
    webhook_url_file: SecretFile | None = Field(
        default=None, description="file with the URL to which messages are posted"
    )
    tip_probability: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="lowest win probability of the favourite for which a prediction is notified",
    )
    big_amount: int = Field(default=50_000, ge=1, description="lowest payout per 100 staked that is notified")
    summary_patience_s: float = Field(
        default=300, gt=0, description="maximum wait of a summary for records that are not loaded yet"
    )
    crash_policy: Literal["park", "retry"] = Field(
        default="park",
        description="what happens to a message if the sender died while sending it, so that delivery is unknown:"
        " `park` keeps it for a person to decide, `retry` sends it again",
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
    bot_roles: Mapping[Snowflake, PersonScope] = Field(
        default={},
        description="scope by id of a role in the server: `read` or `operate`; in the environment ID=SCOPE, separated"
        " by commas. Everybody in the server may read",
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

    @field_validator("bot_roles", mode="before")
    @classmethod
    def _pairs_separated_by_commas(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return dict(part.strip().split("=", 1) for part in value.split(",") if part.strip())

    @model_validator(mode="after")
    def _check_bot(self) -> Self:
        if self.bot_token_file is not None and self.bot_guild_id is None:
            raise ValueError("bot_token_file needs bot_guild_id: the id of the server that the bot serves")
        if "discord-bot" in self.channels and (self.bot_token_file is None or self.bot_channel is None):
            raise ValueError("the channel discord-bot needs bot_token_file and bot_channel")
        return self

    @field_validator("channels", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class NotifierSettings(ServiceSettings):
    name: ClassVar[str] = "notifier"
    notifier: NotifierSection = Field(default=NotifierSection(), description="which notifications are sent, and where")
