"""The content of a rule file: which findings are notified, where, and when. file.py reads it from YAML.

Every model is strict: a text is not accepted as a number, and an unknown key is an error. Durations are seconds; a rule
file writes them with a unit (`90s`, `30m`, `2h`, `1d`).
"""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from services.notifier.kinds import FindingKind
from services.notifier.pacing import RateLimit

RULE_NAME = r"^[a-z][a-z0-9-]{0,39}$"
# Discord's ids of existing objects have 17 digits or more.
SNOWFLAKE = r"^[1-9][0-9]{16,19}$"
# Longer waits are mistakes, for example a duration in milliseconds.
MAX_DURATION_S = 366 * 86_400.0
MAX_TEMPLATE_LENGTH = 4_000
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DURATION = re.compile(r"(?:[0-9]{1,9}[smhd])+", re.ASCII)
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


def duration_s(value: object) -> object:
    """Seconds from a text such as `1h30m`. Raises ValueError."""
    if not isinstance(value, str) or _DURATION.fullmatch(value) is None:
        raise ValueError(f"expected a duration with its unit, such as 90s, 30m, 2h or 1h30m, got {value!r:.40}")
    seconds = sum(int(part[:-1]) * _UNITS_S[part[-1]] for part in re.findall(r"[0-9]+[smhd]", value))
    if not 0 < seconds <= MAX_DURATION_S:
        raise ValueError(f"expected a duration of 1s to 366d, got {value!r:.40}")
    return seconds


def duration_text(seconds: float) -> str:
    """Whole seconds as a rule file writes them: the inverse of `duration_s`."""
    parts, rest = [], int(seconds)
    for unit, unit_s in reversed(_UNITS_S.items()):
        count, rest = divmod(rest, int(unit_s))
        parts.append(f"{count}{unit}" if count else "")
    return "".join(parts) or "0s"


def _time_of_day(value: object) -> object:
    match = _TIME_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f'expected a time of day from "00:00" to "23:59", got {value!r:.40}')
    return time(int(match[1]), int(match[2]))


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(f"expected the name of a time zone such as Asia/Tokyo, got {name!r:.40}") from error
    return name


def _digits(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Duration = Annotated[float, BeforeValidator(duration_s)]
TimeOfDay = Annotated[time, BeforeValidator(_time_of_day)]
Zone = Annotated[str, Field(min_length=1, max_length=60), AfterValidator(_zone)]
RuleName = Annotated[str, Field(pattern=RULE_NAME)]
Snowflake = Annotated[str, BeforeValidator(_digits), Field(pattern=SNOWFLAKE)]
ShortText = Annotated[str, Field(min_length=1, max_length=200)]
# As in the settings: one mailbox in ASCII, and nothing that could end a header or a command.
MAIL_ADDRESS = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}$"
MailAddress = Annotated[str, Field(pattern=MAIL_ADDRESS)]


class RuleFilePart(BaseModel):
    """The base class of everything in a rule file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Pace(RuleFilePart):
    """`burst` messages at once, then one in every `every_s` seconds."""

    burst: int = Field(default=5, ge=1, le=100)
    every_s: Duration = Field(alias="every")


class QuietHours(RuleFilePart):
    """A daily interval in which nothing is sent. It starts at `start`, and ends before `end`, on the next day if `end`
    is earlier."""

    start: TimeOfDay = Field(alias="from")
    end: TimeOfDay = Field(alias="to")
    then: Literal["wait", "drop"] = Field(description="wait: send at the end; drop: do not send")

    @model_validator(mode="after")
    def _check_length(self) -> QuietHours:
        if self.start == self.end:
            raise ValueError("from and to are equal: give two different times, or remove quiet_hours")
        return self


class _ChannelBase(RuleFilePart):
    pace: Pace | None = Field(default=None, description="default: the channel's own rate")
    quiet_hours: QuietHours | None = Field(default=None, description="in addition to those of the rules")


class ConsoleTarget(_ChannelBase):
    """Standard output of the notifier."""

    kind: Literal["console"]


class DiscordTarget(_ChannelBase):
    """The Discord webhook of notifier.discord_webhook_file."""

    kind: Literal["discord"]


class DiscordBotTarget(_ChannelBase):
    """A channel or a person on Discord, written to by the bot."""

    kind: Literal["discord-bot"]
    channel: Snowflake | None = None
    user: Snowflake | None = None

    @model_validator(mode="after")
    def _check_destination(self) -> DiscordBotTarget:
        if (self.channel is None) == (self.user is None):
            raise ValueError("expected either channel or user: the id of a Discord channel, or of a person")
        return self


class WebhookTarget(_ChannelBase):
    """An HTTP endpoint. Without `name` it is that of notifier.webhook_url_file."""

    kind: Literal["webhook"]
    name: RuleName | None = Field(default=None, description="name in notifier.webhook_url_files")


class SlackTarget(_ChannelBase):
    """An incoming webhook of Slack. Without `name` it is that of notifier.slack_webhook_files without a name."""

    kind: Literal["slack"]
    name: RuleName | None = Field(default=None, description="name in notifier.slack_webhook_files")


class EmailTarget(_ChannelBase):
    """Mail to the addresses in `to`. Without them, to those of notifier.email_to with this `name`."""

    kind: Literal["email"]
    to: tuple[MailAddress, ...] | None = Field(default=None, min_length=1, max_length=50)
    name: RuleName | None = Field(default=None, description="name in notifier.email_to")
    digest_every_s: Duration | None = Field(default=None, alias="digest_every")

    @model_validator(mode="after")
    def _check_combinations(self) -> EmailTarget:
        if self.to is not None and self.name is not None:
            raise ValueError("expected either to or name; with to, the name of the channel is that of the address")
        if self.pace is not None and self.digest_every_s is not None:
            raise ValueError("expected either pace or digest_every; digest_every is a pace with a burst of 1")
        return self


ChannelTarget = Annotated[
    ConsoleTarget | DiscordTarget | DiscordBotTarget | WebhookTarget | SlackTarget | EmailTarget,
    Field(discriminator="kind"),
]


class Rule(RuleFilePart):
    """One rule. Its name is its key in the file. A filter without values lets everything pass."""

    finding: FindingKind
    threshold: float | None = Field(default=None, ge=0, description="its meaning depends on the finding")
    states: tuple[Literal["card", "observation"], ...] | None = Field(default=None, min_length=1)
    venues: tuple[int, ...] | None = Field(default=None, min_length=1, max_length=200)
    sources: tuple[ShortText, ...] | None = Field(default=None, min_length=1, max_length=50)
    entities: tuple[ShortText, ...] | None = Field(default=None, min_length=1, max_length=500)
    grades: tuple[int, ...] | None = Field(default=None, min_length=1, max_length=50)
    markets: tuple[ShortText, ...] | None = Field(default=None, min_length=1, max_length=50)
    to: tuple[RuleName, ...] | None = Field(
        default=None, min_length=1, max_length=50, description="names of `channels`; default: notifier.channels"
    )
    quiet_hours: QuietHours | None = None
    expires_s: Duration | None = Field(default=None, alias="expires")
    for_s: Duration | None = Field(default=None, alias="for", description="an alert is sent if its cause lasts as long")
    template: Annotated[str, Field(min_length=1, max_length=MAX_TEMPLATE_LENGTH)] | None = None


class RuleFile(RuleFilePart):
    """A whole rule file."""

    time_zone: Zone = Field(default="UTC", description="of quiet hours")
    channels: dict[RuleName, ChannelTarget] = Field(default_factory=dict)
    rules: dict[RuleName, Rule] = Field(default_factory=dict)


def address_of(name: str, target: ChannelTarget) -> str:
    """The address of a channel of the file in the ledger: KIND, or KIND/DESTINATION."""
    match target:
        case DiscordBotTarget(channel=str(channel)):
            return f"discord-bot/channel/{channel}"
        case DiscordBotTarget():
            return f"discord-bot/user/{target.user}"
        case EmailTarget(to=tuple()):
            return f"email/{name}"
        case EmailTarget(name=str(place)) | SlackTarget(name=str(place)) | WebhookTarget(name=str(place)):
            return f"{target.kind}/{place}"
        case _:
            return target.kind


def rate_of(target: ChannelTarget) -> RateLimit | None:
    """The rate that the file gives to a channel; None if it gives none."""
    if target.pace is not None:
        return RateLimit(target.pace.burst, 1 / target.pace.every_s)
    if isinstance(target, EmailTarget) and target.digest_every_s is not None:
        return RateLimit(1, 1 / target.digest_every_s)
    return None
