"""Sends messages as JSON POST requests to a URL that the operator configures."""

from __future__ import annotations

import json
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from services.notifier.channels.base import ChannelBusy, Message, Receipt, error_of_status, retry_after_of
from services.notifier.channels.secret_url import SecretUrl
from services.notifier.pacing import RateLimit
from services.notifier.texts.message import plain_text


class WebhookChannel:
    """The body has the keys message_id, rule, event_key, text (plain) and markdown.

    The header `Idempotency-Key` is the message's id, so that a receiver can ignore messages that it already has.
    """

    rate = RateLimit(burst=10, per_s=10)

    def __init__(self, url: SecretUrl, timeout_s: float = 5, name: str = "webhook") -> None:
        self.name = name
        self._url = url
        self._timeout_s = timeout_s
        self._opener = _opener()

    def __repr__(self) -> str:
        return f"WebhookChannel(name={self.name!r})"

    def send(self, message: Message) -> Receipt:
        failure: Exception | None = None
        try:
            with self._opener.open(self._request(message), timeout=self._timeout_s):
                return Receipt()
        except HTTPError as error:
            failure = error_of_status(self.name, error.code, retry_after_of(error.headers.get("Retry-After")))
            error.close()
        except (OSError, HTTPException) as error:
            failure = ChannelBusy(f"{self.name} cannot be reached: {type(error).__name__}")
        # Raised outside of `except`: the original error may contain the URL, so it must not be chained.
        raise failure

    def _request(self, message: Message) -> Request:
        body = {
            "message_id": message.message_id,
            "rule": message.rule,
            "event_key": message.event_key,
            "text": plain_text(message.text),
            "markdown": message.text,
        }
        headers = {"Content-Type": "application/json", "Idempotency-Key": message.message_id}
        return Request(  # noqa: S310  # read_secret_url accepts only http and https
            self._url.reveal(), json.dumps(body).encode(), headers, method="POST"
        )


def _opener() -> OpenerDirector:
    """urllib's default opener without redirects, which would turn the POST into a GET, and without other schemes."""
    opener = OpenerDirector()
    for handler in (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, HTTPErrorProcessor):
        opener.add_handler(handler())
    return opener
