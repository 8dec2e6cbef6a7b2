"""Addresses of notifications."""

from __future__ import annotations

import pytest

from services.notifier.addresses import Destination, by_name, kind_of, parse_address, place_of
from shared.errors import ConfigError


@pytest.mark.parametrize(
    ("address", "destination"),
    [
        ("console", Destination("console")),
        ("slack/night-shift", Destination("slack", "night-shift")),
        ("discord-bot/channel/111111111111111111", Destination("discord-bot", "channel/111111111111111111")),
        ("discord-bot/user/222222222222222222", Destination("discord-bot", "user/222222222222222222")),
    ],
)
def test_an_address_is_a_kind_and_a_place(address: str, destination: Destination) -> None:
    assert parse_address(address) == destination
    assert str(destination) == address
    assert (kind_of(address), place_of(address)) == destination


@pytest.mark.parametrize(
    "address",
    [
        "", "pigeon", "console/", "console/a", "discord/races", "slack/", "slack/A", "slack/a/b", "discord-bot",
        "discord-bot/channel/0", "discord-bot/role/111111111111111111", "slack/races\n",
    ],
)  # fmt: skip
def test_no_channel_can_send_to_another_text(address: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        parse_address(address)


def test_entries_are_grouped_by_name() -> None:
    assert by_name(["a@b", "ops=c@d", "ops=e@f", "g@h"]) == {"": ("a@b", "g@h"), "ops": ("c@d", "e@f")}


@pytest.mark.parametrize("entry", ["Ops=x", "=x", "ops=", ""])
def test_an_entry_with_another_name_is_invalid(entry: str) -> None:
    with pytest.raises(ValueError, match="NAME=VALUE"):
        by_name([entry])
