"""The bot as a channel: embeds, buttons, threads, and what happens when Discord does not answer as it should."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest

from services.notifier.bot.channel import BotChannel, InvalidRequests
from services.notifier.bot.messages import thread_name
from services.notifier.bot.rest import ARCHIVED_THREAD, UnknownMessage
from services.notifier.channels.base import ChannelBusy, ChannelClosed, ChannelRefused, ChannelUncertain, Message
from services.notifier.texts.content import Content
from simulator.discord.fake import FakeDiscord
from simulator.discord.faults import Fault
from tests.services.notifier.bot.running import RunningBot, running_bot
from tests.waiting import wait_until

CREATE = "POST /channels/*/messages"


def message(
    destination: str, text: str = "**Stage down** · cleaner\nNo replica.", content: Content | None = None
) -> Message:
    return Message("id/stage-down", UUID(int=1), "stage-down", "cleaner", text, destination, content)


@pytest.fixture
def place(fake: FakeDiscord) -> str:
    return f"channel/{fake.channel('operations').id}"


def test_a_message_is_an_embed_with_colour_and_buttons(fake: FakeDiscord, bot: RunningBot, place: str) -> None:
    receipt = bot.channel.send(message(place, content=Content(colour="critical", actions=("hr:ack:12",))))
    [shown] = fake.messages(fake.channel("operations"))
    assert str(shown.id) == receipt.external_id
    [embed] = shown.embeds
    assert (embed["title"], embed["description"], embed["color"]) == ("Stage down · cleaner", "No replica.", 0xD55E00)
    button = fake.payload(shown)["components"][0]["components"][0]
    assert (button["label"], button["custom_id"]) == ("Acknowledge", "hr:ack:12")


def test_a_hostile_text_mentions_nobody(fake: FakeDiscord, bot: RunningBot, place: str) -> None:
    everyone = f"@everyone <@{fake.person('Ana').id}> <@&{fake.role('operator').id}> @here"
    bot.channel.send(message(place, f"{everyone}\n{everyone}"))
    [shown] = fake.messages(fake.channel("operations"))
    assert fake.pings(shown) == ()


def test_a_text_of_5000_characters_is_cut(fake: FakeDiscord, bot: RunningBot, place: str) -> None:
    bot.channel.send(message(place, "t" * 5_000 + "\n" + "x" * 5_000))
    [shown] = fake.messages(fake.channel("operations"))
    assert len(shown.embeds[0]["title"]) == 256
    assert len(shown.embeds[0]["description"]) == 4_096


def test_an_edit_changes_the_same_message(fake: FakeDiscord, bot: RunningBot, place: str) -> None:
    first = message(place, content=Content(colour="critical", actions=("hr:ack:12",)))
    receipt = bot.channel.send(first)
    assert receipt.external_id is not None
    bot.channel.edit(receipt.external_id, first._replace(text="**Resolved** · cleaner", content=Content(colour="good")))
    [shown] = fake.messages(fake.channel("operations"))
    assert shown.embeds[0]["title"] == "Resolved · cleaner"
    assert fake.payload(shown)["components"] == []


def test_details_are_in_a_thread_and_edited_there(fake: FakeDiscord, bot: RunningBot, place: str) -> None:
    first = message(place, content=Content(details="10:00 opened"))
    receipt = bot.channel.send(first)
    assert receipt.external_id is not None
    bot.channel.edit(receipt.external_id, first._replace(content=Content(details="10:00 opened\n10:05 resolved")))
    [thread] = [each for each in fake.simulation.state.guild.channels.values() if each.id == int(receipt.external_id)]
    [details] = [each for each in fake.messages(thread) if each.embeds]
    assert details.embeds[0]["description"] == "10:00 opened\n10:05 resolved"


def test_details_in_an_archived_thread_are_edited(fake: FakeDiscord, bot: RunningBot, place: str) -> None:
    first = message(place, content=Content(details="10:00 opened"))
    thread = bot.channel.send(first).external_id
    assert thread is not None
    refused = fake.faults.plan(Fault(f"PATCH /channels/{thread}/messages/*", status=400, code=ARCHIVED_THREAD))
    bot.channel.edit(thread, first._replace(content=Content(details="10:05 resolved")))
    assert refused.hits == 1
    [shown] = [each for each in fake.simulation.state.guild.channels.values() if each.id == int(thread)]
    [details] = [each for each in fake.messages(shown) if each.embeds]
    assert details.embeds[0]["description"] == "10:05 resolved"
    assert len(fake.requests(f"PATCH /channels/{thread}")) == 1


def test_a_thread_has_a_name_whatever_the_text() -> None:
    assert thread_name("**Stage down** \u00b7 cleaner\nmore") == "Stage down \u00b7 cleaner"
    assert thread_name("****\nmore") == "Details"


def test_a_direct_message_has_a_button_to_unsubscribe(fake: FakeDiscord, bot: RunningBot) -> None:
    ana = fake.person("Ana")
    bot.channel.send(message(f"user/{ana.id}"))
    [shown] = fake.messages(fake.direct(ana))
    assert fake.payload(shown)["components"][0]["components"][0]["custom_id"] == "hr:unsubscribe:stage-down"


def test_a_person_who_blocks_the_bot_is_reported(fake: FakeDiscord, bot: RunningBot) -> None:
    ana = fake.person("Ana")
    fake.block(ana)
    with pytest.raises(ChannelRefused):
        bot.channel.send(message(f"user/{ana.id}"))
    assert bot.blocked == [ana.id]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("is_executed", [True, False])
def test_an_error_of_the_server_is_uncertain_and_can_be_decided(
    fake: FakeDiscord, bot: RunningBot, place: str, status: int, is_executed: bool
) -> None:
    fake.faults.plan(Fault(CREATE, status=status, is_executed=is_executed))
    with pytest.raises(ChannelUncertain):
        bot.channel.send(message(place))
    shown = fake.messages(fake.channel("operations"))
    receipt = bot.channel.find(message(place))
    assert len(shown) == is_executed
    assert (receipt is not None) == is_executed
    if receipt is not None:
        assert receipt.external_id == str(shown[0].id)


def test_a_connection_lost_after_the_message_was_taken_is_uncertain(
    fake: FakeDiscord, bot: RunningBot, place: str
) -> None:
    fake.faults.plan(Fault(CREATE, disconnects=True, is_executed=True))
    with pytest.raises(ChannelUncertain):
        bot.channel.send(message(place))
    assert bot.channel.find(message(place)) is not None


def test_the_same_message_again_returns_the_first_one(fake: FakeDiscord, bot: RunningBot, place: str) -> None:
    assert bot.channel.send(message(place)) == bot.channel.send(message(place))
    assert len(fake.messages(fake.channel("operations"))) == 1


def test_a_rate_limit_is_waited_for(fake: FakeDiscord, bot: RunningBot, place: str) -> None:
    fake.faults.plan(Fault(CREATE, times=2, status=429, retry_after_s=0.05))
    bot.channel.send(message(place))
    assert len(fake.messages(fake.channel("operations"))) == 1


def test_a_message_is_not_sent_after_its_deadline(fake: FakeDiscord, bot: RunningBot, place: str) -> None:
    with pytest.raises(ChannelBusy):
        bot.channel.send(message(place)._replace(deadline_s=time.monotonic()))
    assert fake.requests(CREATE) == []


def test_a_global_rate_limit_that_is_not_waited_for_holds_back_nothing_else(
    fake: FakeDiscord, bot: RunningBot, place: str
) -> None:
    fault = fake.faults.plan(Fault(CREATE, status=429, retry_after_s=25, is_global=True))
    with pytest.raises(ChannelBusy):
        bot.channel.send(message(place)._replace(deadline_s=time.monotonic() + 3))
    assert fault.hits == 1
    bot.channel.send(message(place))
    assert len(fake.messages(fake.channel("operations"))) == 1


def test_a_message_that_could_not_be_sent_at_all_is_not_uncertain(database_url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        fake = stack.enter_context(FakeDiscord())
        rest = stack.pop_all()
        with rest, running_bot(fake, database_url, tmp_path) as bot:
            wait_until(lambda: fake.is_connected)
            place = f"channel/{fake.channel('operations').id}"
            rest.close()
            with pytest.raises(ChannelBusy):
                bot.channel.send(message(place))


def test_a_channel_without_permission_is_refused(fake: FakeDiscord, bot: RunningBot, place: str) -> None:
    fake.deny(fake.channel("operations"), "send_messages")
    with pytest.raises(ChannelClosed, match="permissions"):
        bot.channel.send(message(place))


def test_requests_to_an_unknown_channel_are_limited_and_stop_no_other(
    fake: FakeDiscord, bot: RunningBot, place: str
) -> None:
    channel = BotChannel(bot.link, bot.blocked.append, InvalidRequests(limit_of_one=3))
    for _ in range(3):
        with pytest.raises(ChannelClosed):
            channel.send(message("channel/123456789012345678"))
    with pytest.raises(ChannelBusy):
        channel.send(message("channel/123456789012345678"))
    channel.send(message(place))
    assert len(fake.requests(CREATE)) == 4


def test_edits_of_messages_that_people_deleted_stop_nothing(fake: FakeDiscord, bot: RunningBot, place: str) -> None:
    channel = BotChannel(bot.link, bot.blocked.append, InvalidRequests(limit_of_one=2))
    for _ in range(3):
        with pytest.raises(UnknownMessage):
            channel.edit("123456789012345678", message(place))
    channel.send(message(place))
    assert len(fake.messages(fake.channel("operations"))) == 1


def test_a_token_that_is_revoked_makes_the_channel_unavailable(fake: FakeDiscord, bot: RunningBot, place: str) -> None:
    fake.faults.revoke_token()
    fake.wait_for(lambda: not bot.channel.available())
    with pytest.raises(ChannelBusy):
        bot.channel.send(message(place))


def test_invalid_requests_are_counted_within_the_window() -> None:
    invalid = InvalidRequests(limit=3, limit_of_one=2, window_s=10)
    invalid.record("a", 0)
    assert invalid.wait_s("a", 1) == 0
    invalid.record("a", 1)
    assert invalid.wait_s("a", 2) == 8
    assert invalid.wait_s("b", 2) == 0
    invalid.record("b", 2)
    assert invalid.wait_s("c", 2) == 8
    assert invalid.wait_s("a", 10) == 0
