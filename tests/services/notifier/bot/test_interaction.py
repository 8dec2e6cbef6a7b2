"""Interactions are parsed from Discord's payloads, and any other content is refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.bot.interaction import EPHEMERAL, InvalidInteraction, custom_id, interaction_of
from tests.services.notifier.bot.payloads import CHANNEL, GUILD, TOKEN, click, command

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)
KEYS = st.sampled_from(["id", "type", "token", "data", "member", "user", "message", "application_id", "guild_id"])


def test_a_command_has_its_person_and_its_options() -> None:
    parsed = interaction_of(command("pause", 41, 7, (3, 4), service="cleaner", topic="raw-events"))
    assert (parsed.id, parsed.kind, parsed.name, parsed.channel_id) == (41, "command", "pause", CHANNEL)
    assert (parsed.person.id, parsed.person.guild_id) == (7, GUILD)
    assert parsed.person.role_ids == {3, 4}
    assert (parsed.text("service"), parsed.text("topic"), parsed.text("reason")) == ("cleaner", "raw-events", "")


def test_a_button_has_an_action_and_an_argument_that_may_contain_colons() -> None:
    parsed = interaction_of(click(custom_id("ack", "12:34"), flags=EPHEMERAL))
    assert (parsed.kind, parsed.name, parsed.argument) == ("button", "ack", "12:34")
    assert (parsed.message_id, parsed.is_private_message) == (55, True)


def test_a_completion_names_the_option_that_is_typed() -> None:
    payload = command("event", key="Kir") | {"type": 4}
    payload["data"]["options"][0]["focused"] = True
    parsed = interaction_of(payload)
    assert (parsed.kind, parsed.focused, parsed.text("key")) == ("completion", "key", "Kir")


def test_a_direct_message_has_a_person_without_guild_and_roles() -> None:
    payload = click(custom_id("unsubscribe", "tip"))
    payload["user"] = payload.pop("member")["user"]
    del payload["guild_id"]
    parsed = interaction_of(payload)
    assert (parsed.person.id, parsed.person.guild_id, parsed.person.role_ids) == (7, None, frozenset())


def test_a_nickname_is_preferred_and_cut() -> None:
    payload = command("status")
    payload["member"]["nick"] = "n" * 300
    assert interaction_of(payload).person.name == "n" * 80


def test_the_token_is_not_shown() -> None:
    assert TOKEN not in repr(interaction_of(command("status")))


@pytest.mark.parametrize("custom", ["ack:12", "xx:ack:12", "hr:ack", ""])
def test_buttons_of_others_are_refused(custom: str) -> None:
    with pytest.raises(InvalidInteraction):
        interaction_of(click(custom))


@given(payload=st.dictionaries(KEYS | st.text(max_size=10), JSON, max_size=9))
def test_arbitrary_payloads_are_refused(payload: Any) -> None:
    with pytest.raises(InvalidInteraction):
        interaction_of(payload)


@given(key=KEYS, value=JSON)
def test_a_damaged_field_never_raises_anything_else(key: str, value: Any) -> None:
    with suppress(InvalidInteraction):
        interaction_of(command("pause", service="cleaner") | {key: value})
