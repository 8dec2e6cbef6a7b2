"""What an operator may set of the notifier."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from shared.settings.sections import SecretFile, Section, ServiceSettings


class Notifier(Section):
    channels: tuple[Literal["console", "discord", "webhook"], ...] = Field(
        default=("console",), description="where people are told; in the environment separated by commas"
    )
    discord_webhook_file: SecretFile | None = Field(
        default=None, description="the file that holds the URL of a Discord webhook"
    )
    webhook_url_file: SecretFile | None = Field(
        default=None, description="the file that holds the URL that messages are posted to"
    )
    tip_probability: float = Field(
        default=0.75, gt=0, le=1, description="a prediction is told when its most probable winner reaches this"
    )
    big_amount: int = Field(
        default=50_000, ge=1, description="a settled transaction is told from this amount on, per 100 staked"
    )
    summary_patience_s: float = Field(
        default=300,
        gt=0,
        description="a summary waits for what is still on its way into the tables, but no longer than this",
    )
    crash_policy: Literal["park", "retry"] = Field(
        default="park",
        description="what becomes of a message whose sending was cut off, so that nobody knows whether it arrived:"
        " kept for a person to decide, or sent again",
    )

    @field_validator("channels", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class NotifierSettings(ServiceSettings):
    name: ClassVar[str] = "notifier"
    notifier: Notifier = Field(default=Notifier(), description="what is told to whom")
