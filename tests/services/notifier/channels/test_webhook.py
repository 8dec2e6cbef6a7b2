"""The JSON webhook against a real server."""

from __future__ import annotations

import socket
from uuid import UUID

import pytest

from services.notifier.channels.base import ChannelBusy, ChannelClosed, ChannelRefused, Message
from services.notifier.channels.secret_url import SecretUrl
from services.notifier.channels.webhook import WebhookChannel
from tests.services.notifier.http_receiver import Answer, Receiver

MESSAGE = Message("id/tip", UUID(int=5), "tip", "river:2026-05-02:07:01", "**Tip** a\\*")


@pytest.fixture
def channel(receiver: Receiver) -> WebhookChannel:
    return WebhookChannel({"": SecretUrl(f"{receiver.url}/hooks/s3cret")}, timeout_s=60)


def test_the_message_is_sent_completely(channel: WebhookChannel, receiver: Receiver) -> None:
    channel.send(MESSAGE)

    (request,) = receiver.seen
    assert request.path == "/hooks/s3cret"
    assert request.headers["Idempotency-Key"] == "id/tip"
    assert request.body == {
        "message_id": "id/tip",
        "rule": "tip",
        "event_key": "river:2026-05-02:07:01",
        "text": "Tip a*",
        "markdown": "**Tip** a\\*",
    }


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_status_that_may_pass_is_a_temporary_failure(
    channel: WebhookChannel, receiver: Receiver, status: int
) -> None:
    receiver.answers.append(Answer(status, headers={"Retry-After": "7"}))

    with pytest.raises(ChannelBusy, match=str(status)) as raised:
        channel.send(MESSAGE)

    assert raised.value.retry_after_s == 7


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 410, 413])
def test_an_answer_about_the_address_closes_it_and_one_about_the_message_refuses_it(
    channel: WebhookChannel, receiver: Receiver, status: int
) -> None:
    receiver.answers.append(Answer(status, headers={"Location": f"{receiver.url}/elsewhere"}))

    with pytest.raises(ChannelRefused, match=str(status)) as raised:
        channel.send(MESSAGE)

    assert isinstance(raised.value, ChannelClosed) == (status not in {400, 413})
    assert len(receiver.seen) == 1


def test_an_unreachable_server_is_a_temporary_failure_and_its_url_stays_secret() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        channel = WebhookChannel({"": SecretUrl(f"http://127.0.0.1:{unused.getsockname()[1]}/s3cret")})

        with pytest.raises(ChannelBusy) as raised:
            channel.send(MESSAGE)

    assert "s3cret" not in f"{raised.value} {channel!r}"
    assert raised.value.__context__ is None


def test_a_missing_response_is_a_temporary_failure(receiver: Receiver) -> None:
    receiver.open.clear()
    channel = WebhookChannel({"": SecretUrl(receiver.url)}, timeout_s=0.05)

    with pytest.raises(ChannelBusy, match="TimeoutError"):
        channel.send(MESSAGE)
