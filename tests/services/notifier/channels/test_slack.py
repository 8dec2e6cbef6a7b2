"""What only the Slack channel does. contract/test_channels.py has what it shares with the others."""

from __future__ import annotations

from uuid import UUID

import pytest

from services.notifier.channels.base import ChannelBusy, ChannelClosed, Message
from services.notifier.channels.secret_url import SecretUrl
from services.notifier.channels.slack import SlackChannel
from tests.services.notifier.http_receiver import Answer, Receiver

MESSAGE = Message("id/tip", UUID(int=5), "tip", "k", "**Tip** · a & b")


@pytest.fixture
def channel(receiver: Receiver) -> SlackChannel:
    receiver.usual = Answer(200, b"ok")
    urls = {"": SecretUrl(f"{receiver.url}/default"), "ops": SecretUrl(f"{receiver.url}/ops")}
    return SlackChannel(urls, timeout_s=60)


def test_the_text_and_its_blocks_are_in_slacks_markdown(channel: SlackChannel, receiver: Receiver) -> None:
    channel.send(MESSAGE)

    (request,) = receiver.seen
    text = "*Tip* · a &amp; b"
    assert request.body == {"text": text, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text}}]}


def test_a_name_selects_the_webhook(channel: SlackChannel, receiver: Receiver) -> None:
    channel.send(MESSAGE._replace(destination="ops"))

    assert [request.path for request in receiver.seen] == ["/ops"]


def test_a_name_without_a_webhook_is_refused(channel: SlackChannel) -> None:
    with pytest.raises(ChannelClosed, match="no URL for races"):
        channel.send(MESSAGE._replace(destination="races"))


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_deleted_webhook_is_refused(channel: SlackChannel, receiver: Receiver, status: int) -> None:
    receiver.answers.append(Answer(status, b"no_service"))

    with pytest.raises(ChannelClosed, match=f"{status}: its URL is no longer valid"):
        channel.send(MESSAGE)


def test_after_an_error_of_the_server_or_too_many_requests_the_message_is_sent_again(
    channel: SlackChannel, receiver: Receiver
) -> None:
    receiver.answers.extend([Answer(503), Answer(429, headers={"Retry-After": "3"})])

    with pytest.raises(ChannelBusy, match="503"):
        channel.send(MESSAGE)
    with pytest.raises(ChannelBusy) as raised:
        channel.send(MESSAGE)

    assert raised.value.retry_after_s == 3


def test_a_page_that_is_no_webhook_is_refused(channel: SlackChannel, receiver: Receiver) -> None:
    receiver.answers.append(Answer(200, b"<html>Welcome</html>"))

    with pytest.raises(ChannelClosed, match="no incoming webhook"):
        channel.send(MESSAGE)
