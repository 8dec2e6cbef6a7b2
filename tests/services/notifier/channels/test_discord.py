"""The Discord channel against a real server that answers as Discord does."""

from __future__ import annotations

import logging
import socket
import traceback
from uuid import UUID

import pytest

from services.notifier.channels.base import ChannelBusy, ChannelClosed, ChannelRefused, ChannelUncertain, Message
from services.notifier.channels.discord import DiscordChannel
from services.notifier.channels.secret_url import SecretUrl
from shared.errors import ConfigError
from tests.services.notifier.http_receiver import Answer, Receiver

HOOK_ID = "123456789012345678"
TOKEN = "s3cret-" + "x" * 61
URL = SecretUrl(f"https://discord.com/api/webhooks/{HOOK_ID}/{TOKEN}")
MESSAGE = Message("id/tip", UUID(int=5), "tip", "k", "**Tip** @everyone")
# Discord's response with `wait=true`, as in its reference.
STORED_MESSAGE = Answer(
    200,
    {
        "id": "99",
        "type": 0,
        "content": "x",
        "channel_id": "5",
        "attachments": [],
        "embeds": [],
        "mentions": [],
        "mention_roles": [],
        "pinned": False,
        "mention_everyone": False,
        "tts": False,
        "edited_timestamp": None,
        "timestamp": "2026-05-02T12:00:00.000000+00:00",
        "flags": 0,
        "components": [],
        "webhook_id": HOOK_ID,
        "author": {"id": HOOK_ID, "username": "h", "discriminator": "0000", "avatar": None, "bot": True},
    },
)


@pytest.fixture
def channel(receiver: Receiver) -> DiscordChannel:
    receiver.usual = STORED_MESSAGE
    return DiscordChannel(URL, base_url=f"{receiver.url}/api/v10", timeout_s=60)


def test_the_message_is_sent_without_allowed_mentions(channel: DiscordChannel, receiver: Receiver) -> None:
    channel.send(MESSAGE)

    (request,) = receiver.seen
    assert request.path.startswith(f"/api/v10/webhooks/{HOOK_ID}/{TOKEN}?wait=1")
    assert request.body["content"] == "**Tip** @everyone"
    assert request.body["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize("answer", [Answer(204), Answer(200, {"odd": True}), Answer(200, "text")])
def test_a_successful_response_of_any_form_counts_as_sent(
    channel: DiscordChannel, receiver: Receiver, answer: Answer
) -> None:
    receiver.answers.append(answer)

    channel.send(MESSAGE)

    assert len(receiver.seen) == 1


def test_a_rate_limit_gives_the_time_of_the_retry(channel: DiscordChannel, receiver: Receiver) -> None:
    body = {"message": "You are being rate limited.", "retry_after": 1.337, "global": False}
    receiver.answers.append(Answer(429, body, {"Retry-After": "2", "Via": "1.1 google"}))

    with pytest.raises(ChannelBusy, match="429") as raised:
        channel.send(MESSAGE)

    assert raised.value.retry_after_s == 1.337


def test_an_error_of_discord_is_not_retried_by_the_channel(channel: DiscordChannel, receiver: Receiver) -> None:
    receiver.answers.append(Answer(500))

    with pytest.raises(ChannelBusy, match="500"):
        channel.send(MESSAGE)

    assert len(receiver.seen) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_deleted_webhook_closes_the_channel(channel: DiscordChannel, receiver: Receiver, status: int) -> None:
    receiver.answers.append(Answer(status, {"message": "Unknown Webhook", "code": 10015}))

    with pytest.raises(ChannelClosed, match=f"HTTP {status}: its URL is no longer valid"):
        channel.send(MESSAGE)


def test_a_redirect_closes_the_channel(channel: DiscordChannel, receiver: Receiver) -> None:
    receiver.answers.append(Answer(301, headers={"Location": f"{receiver.url}/elsewhere"}))

    with pytest.raises(ChannelClosed, match="redirect"):
        channel.send(MESSAGE)


def test_after_a_missing_response_delivery_is_uncertain(receiver: Receiver) -> None:
    receiver.open.clear()

    with pytest.raises(ChannelUncertain, match="TimeoutError"):
        DiscordChannel(URL, base_url=receiver.url, timeout_s=0.05).send(MESSAGE)


def test_the_url_is_in_no_log_error_or_repr(
    channel: DiscordChannel, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answers.extend([Answer(204), Answer(404), Answer(500)])
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        unreachable = DiscordChannel(URL, base_url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        texts = [repr(channel), repr(vars(channel))]
        channel.send(MESSAGE)
        for target in (channel, channel, unreachable):
            with pytest.raises((ChannelBusy, ChannelRefused, ChannelUncertain)) as raised:
                target.send(MESSAGE)
            texts.append("".join(traceback.format_exception(raised.value)))

    assert "s3cret" not in " ".join([*texts, caplog.text])


def test_a_url_that_is_no_webhook_is_a_config_error() -> None:
    with pytest.raises(ConfigError) as raised:
        DiscordChannel(SecretUrl("https://discord.com/s3cret"))

    assert "s3cret" not in str(raised.value)


def test_the_token_is_sent_over_https_only() -> None:
    with pytest.raises(ConfigError, match="https"):
        DiscordChannel(URL, base_url="http://elsewhere.example/api")
