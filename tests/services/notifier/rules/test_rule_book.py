"""The answers of a rule book: addresses, rates and dispositions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.addresses import parse_address
from services.notifier.delivery.rules import DeliveryRules
from services.notifier.disposition import Drop, HoldUntil, SendNow
from services.notifier.pacing import RateLimit
from services.notifier.rules.model import RuleFile
from services.notifier.rules.rule_book import RuleBook

NOON = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)  # in Tokyo
EVENING = datetime(2026, 1, 31, 13, 0, tzinfo=UTC)  # 22:00 in Tokyo
MORNING = datetime(2026, 1, 31, 22, 0, tzinfo=UTC)  # 07:00 in Tokyo, of the next day
NIGHT = {"from": "22:00", "to": "07:00", "then": "wait"}
CHANNEL, USER = "111111111111111111", "222222222222222222"
CHANNELS = {
    "races": {"kind": "discord-bot", "channel": CHANNEL, "pace": {"burst": 5, "every": "10s"}},
    "me": {"kind": "discord-bot", "user": USER, "quiet_hours": {"from": "21:00", "to": "08:00", "then": "wait"}},
    "mail": {"kind": "email", "to": ("person@example.org",), "digest_every": "15m"},
    "chat": {"kind": "slack", "name": "night-shift"},
    "console": {"kind": "console"},
    "hook": {"kind": "webhook"},
}


def book(**rules: Any) -> RuleBook:
    """Rules by name; an underscore in a name is a hyphen."""
    named = {name.replace("_", "-"): rule for name, rule in rules.items()}
    return RuleBook(RuleFile.model_validate({"time_zone": "Asia/Tokyo", "channels": CHANNELS, "rules": named}))


def test_several_rules_may_be_about_one_kind() -> None:
    rules = book(first={"finding": "tip"}, other={"finding": "daily"}, second={"finding": "tip"})

    assert [each.name for each in rules.rules_of("tip")] == ["first", "second"]
    assert rules.rules_of("grade") == ()


def test_a_threshold_that_is_left_out_is_the_default_of_its_kind() -> None:
    file = book(a={"finding": "tip"}, b={"finding": "tip", "threshold": 0.9}, c={"finding": "daily"}).file

    assert [each.threshold for each in RuleBook(file, {"tip": 0.6}).rules] == [0.6, 0.9, 0]


def test_the_addresses_of_a_rule_are_those_of_its_channels() -> None:
    rules = book(tip={"finding": "tip", "to": ("races", "me", "mail", "chat", "console", "hook", "races")})

    assert rules.addresses("tip", ["discord"]) == (
        "discord-bot/channel/" + CHANNEL, "discord-bot/user/" + USER, "email/mail", "slack/night-shift", "console",
        "webhook",
    )  # fmt: skip


def test_every_address_has_a_channel_to_send_to_it() -> None:
    assert [str(parse_address(address)) for address in book().targets] == list(book().targets)


def test_the_sender_can_use_a_rule_book() -> None:
    rules: DeliveryRules = book(tip={"finding": "tip"}, stage_down={"finding": "stage-down"})

    assert rules.alerts() == {"stage-down"}


def test_a_rule_without_channels_uses_those_of_the_settings() -> None:
    rules = book(tip={"finding": "tip"})

    assert rules.addresses("tip", ["console", "discord"]) == ("console", "discord")
    assert rules.addresses("removed", ["console"]) == ()


def test_the_pace_of_an_address_is_that_of_its_channel() -> None:
    rules = book()

    assert rules.pace("discord-bot/channel/" + CHANNEL) == RateLimit(5, 0.1)
    assert rules.pace("email/mail") == RateLimit(1, 1 / 900)
    assert rules.pace("console") is None
    assert rules.pace("discord-bot/user/999") is None


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ("wait", EVENING - timedelta(seconds=1), SendNow()),
        ("wait", EVENING, HoldUntil(MORNING)),
        ("wait", MORNING, SendNow()),
        ("drop", EVENING, Drop("it is within the quiet hours of the rule tip")),
    ],
)
def test_quiet_hours_hold_or_drop(then: str, now: datetime, expected: object) -> None:
    rules = book(tip={"finding": "tip", "quiet_hours": {**NIGHT, "then": then}})

    assert rules.disposition("tip", "console", NOON, now, {}) == expected


def test_a_channel_has_quiet_hours_of_its_own() -> None:
    rules = book(tip={"finding": "tip", "quiet_hours": NIGHT}, stage_down={"finding": "stage-down"})

    until_eight = HoldUntil(MORNING + timedelta(hours=1))
    assert rules.disposition("tip", "discord-bot/user/" + USER, NOON, EVENING, {}) == until_eight
    assert rules.disposition("stage-down", "discord-bot/user/" + USER, NOON, EVENING, {}) == SendNow()


def test_a_notification_expires() -> None:
    rules = book(tip={"finding": "tip", "expires": "30m"})
    end = NOON + timedelta(minutes=30)

    assert rules.expires_s("tip") == 1_800
    assert rules.disposition("tip", "console", NOON, end - timedelta(seconds=1), {}) == SendNow()
    assert isinstance(rules.disposition("tip", "console", NOON, end, {}), Drop)


def test_a_muted_rule_is_dropped_until_the_mute_ends() -> None:
    rules = book(tip={"finding": "tip"})
    mutes = {"tip": NOON}

    assert isinstance(rules.disposition("tip", "console", NOON, NOON - timedelta(seconds=1), mutes), Drop)
    assert rules.disposition("tip", "console", NOON, NOON, mutes) == SendNow()
    assert rules.disposition("tip", "console", NOON, NOON, {"other": EVENING}) == SendNow()


def test_a_notification_of_a_rule_that_was_removed_is_sent() -> None:
    assert book().disposition("removed", "console", NOON, EVENING, {}) == SendNow()


@given(st.integers(0, 365 * 1_440), st.integers(0, 2_000))
def test_a_held_notification_is_sent_or_dropped_when_its_time_comes(minutes: int, age_minutes: int) -> None:
    rules = book(tip={"finding": "tip", "quiet_hours": NIGHT, "expires": "1d"})
    now = NOON + timedelta(minutes=minutes)
    created_at = now - timedelta(minutes=age_minutes)

    held = rules.disposition("tip", "console", created_at, now, {})

    if isinstance(held, HoldUntil):
        assert now < held.at
        assert not isinstance(rules.disposition("tip", "console", created_at, held.at, {}), HoldUntil)
