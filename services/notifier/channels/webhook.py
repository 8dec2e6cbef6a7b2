"""Sends messages as JSON POST requests to URLs that the operator configures."""

from __future__ import annotations

from collections.abc import Mapping

from services.notifier.channels.base import ChannelBusy, ChannelUncertain, Message, Receipt, error_of_status
from services.notifier.channels.http_post import JsonPoster
from services.notifier.channels.secret_url import SecretUrl
from services.notifier.pacing import RateLimit
from services.notifier.texts.message import plain_text


class WebhookChannel:
    """The body has the keys message_id, rule, event_key, text (plain) and markdown.

    The header `Idempotency-Key` is the message's id: a receiver must ignore a message that it already has. Therefore a
    message whose delivery is not known is sent again.
    """

    rate = RateLimit(burst=10, per_s=10)

    def __init__(self, urls: Mapping[str, SecretUrl], timeout_s: float = 5, name: str = "webhook") -> None:
        """`urls` by the name of the destination; the empty name is the address without one."""
        self.name = name
        self._poster = JsonPoster(name, urls, timeout_s)

    def __repr__(self) -> str:
        return f"WebhookChannel(name={self.name!r})"

    def send(self, message: Message) -> Receipt:
        body = {
            "message_id": message.message_id,
            "rule": message.rule,
            "event_key": message.event_key,
            "text": plain_text(message.text),
            "markdown": message.text,
        }
        try:
            answer = self._poster.post(message, body, {"Idempotency-Key": message.message_id})
        except ChannelUncertain as error:
            raise ChannelBusy(str(error)) from None
        if answer.status >= 300:
            raise error_of_status(self.name, answer.status, answer.retry_after_s)
        return Receipt()
