"""Posts JSON to secret URLs, without redirects, and tells a request that was not sent from one without an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from services.notifier.channels.base import ChannelBusy, ChannelClosed, ChannelUncertain, Message, retry_after_of
from services.notifier.channels.secret_url import SecretUrl

MAX_ANSWER_BYTES = 1_000


class HttpAnswer(NamedTuple):
    """`body` is the beginning of the answer's body."""

    status: int
    body: bytes
    retry_after_s: float | None


class JsonPoster:
    """Sends a channel's messages to the URLs of its destinations. `timeout_s` limits each wait for the receiver."""

    def __init__(self, name: str, urls: Mapping[str, SecretUrl], timeout_s: float) -> None:
        self._name = name
        self._urls = urls
        self._timeout_s = timeout_s
        self._opener = _opener()

    def post(self, message: Message, body: Any, headers: Mapping[str, str] | None = None) -> HttpAnswer:
        """Post `body` to the message's destination; returns the answer, whatever its status.

        Raises ChannelClosed if the destination has no URL, ChannelBusy if the request was not sent, ChannelUncertain
        if it was sent and no answer came.
        """
        url = self._urls.get(message.destination)
        if url is None:
            raise ChannelClosed(f"{self._name} has no URL for {message.destination or 'messages without a name'}")
        request = Request(  # noqa: S310  # read_secret_url accepts only http and https
            url.reveal(),
            json.dumps(body).encode(),
            {"Content-Type": "application/json", **(headers or {})},
            method="POST",
        )
        failure: Exception
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                return HttpAnswer(response.status, response.read(MAX_ANSWER_BYTES), None)
        except HTTPError as error:
            with error:
                return HttpAnswer(error.code, b"", retry_after_of(error.headers.get("Retry-After")))
        except URLError as error:
            # urllib wraps the errors of connecting and sending only. The receiver cannot have the whole request.
            failure = ChannelBusy(f"{self._name} cannot be reached: {type(error.reason).__name__}")
        except (OSError, HTTPException) as error:
            failure = ChannelUncertain(f"{self._name} gave no answer: {type(error).__name__}")
        # Raised outside of `except`: the original error may contain the URL, so it must not be chained.
        raise failure


def _opener() -> OpenerDirector:
    """urllib's default opener without redirects, which would turn the POST into a GET, and without other schemes."""
    opener = OpenerDirector()
    for handler in (ProxyHandler, HTTPHandler, HTTPSHandler, HTTPDefaultErrorHandler, HTTPErrorProcessor):
        opener.add_handler(handler())
    return opener
