"""The notifier's settings."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from shared.settings.sections import SecretFile, Section, ServiceSettings


class NotifierSection(Section):
    channels: tuple[Literal["console", "discord", "webhook"], ...] = Field(
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

    @field_validator("channels", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class NotifierSettings(ServiceSettings):
    name: ClassVar[str] = "notifier"
    notifier: NotifierSection = Field(default=NotifierSection(), description="which notifications are sent, and where")
