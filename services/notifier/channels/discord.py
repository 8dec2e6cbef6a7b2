"""Sends messages to a Discord channel through a webhook.

discord.py builds the request. The sender does the waiting and retrying, so every response is turned into an exception
before discord.py handles it: its own retry loop sleeps up to 25 s, and it logs the URL (at DEBUG). The webhook's URL is
a secret, because anyone who has it can post messages.

A webhook does not ignore repeated messages, and does not tell whether it has one. After an error of Discord, or without
an answer, delivery is therefore uncertain.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Any, NamedTuple

import aiohttp
import discord
from discord.http import Route
from discord.webhook.async_ import AsyncWebhookAdapter, async_context

from services.notifier.channels.base import (
    ChannelBusy,
    ChannelClosed,
    ChannelRefused,
    ChannelUncertain,
    Message,
    Receipt,
    error_of_status,
    retry_after_of,
)
from services.notifier.channels.secret_url import SecretUrl, is_safe
from services.notifier.pacing import RateLimit
from services.notifier.texts.message import truncate
from shared.errors import ConfigError

BASE_URL = "https://discord.com/api/v10"
WEBHOOK_URL = re.compile(
    r"https://(?:\w+\.)?discord(?:app)?\.com/api/(?:v\d+/)?webhooks/(?P<id>\d{17,20})/(?P<token>[\w.-]{60,})"
)


class _Hook(NamedTuple):
    id: int
    token: str

    def __repr__(self) -> str:
        return "_Hook(***)"


class DiscordChannel:
    """`base_url` is the URL of Discord's API; change it for a proxy or a test server."""

    # Discord allows 5 requests in 2 s per webhook and 30 messages a minute per channel.
    rate = RateLimit(burst=5, per_s=0.5)

    def __init__(self, url: SecretUrl, base_url: str = BASE_URL, timeout_s: float = 5, name: str = "discord") -> None:
        """Raises ConfigError, without the secret, if `url` is not a webhook URL or `base_url` is not safe."""
        match = WEBHOOK_URL.fullmatch(url.reveal())
        if match is None:
            raise ConfigError(
                f"{name}: expected https://discord.com/api/webhooks/ID/TOKEN in its secret file, got another URL"
            )
        if not is_safe(base_url):
            raise ConfigError(f"{name}: expected an https:// base URL (http:// is allowed only for this machine)")
        self.name = name
        self._hook = _Hook(int(match["id"]), match["token"])
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"DiscordChannel(name={self.name!r})"

    def send(self, message: Message) -> Receipt:
        failure: Exception
        try:
            asyncio.run(self._send(truncate(message.text)))
        except (ChannelBusy, ChannelRefused, ChannelUncertain) as error:
            failure = error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            failure = ChannelBusy(f"{self.name} cannot be reached: {type(error).__name__}")
        except (aiohttp.ClientError, OSError, TimeoutError, discord.DiscordException) as error:
            failure = ChannelUncertain(f"{self.name} gave no answer: {type(error).__name__}")
        else:
            return Receipt()
        # Raised outside of `except`: the original error may contain the URL, so it must not be chained.
        raise failure

    async def _send(self, text: str) -> None:
        async def check(response: aiohttp.ClientResponse) -> None:
            if response.status < 300:
                raise _MessageAccepted
            # Also for 5xx: it says that the message was not accepted. In an outage messages wait, and none is lost.
            raise error_of_status(self.name, response.status, await _retry_after_s(response))

        async def refuse_redirect(*_: object) -> None:
            raise ChannelClosed(f"{self.name} answered with a redirect, which is not followed; configure the final URL")

        # discord.py lets aiohttp follow redirects; the trace ends the request before.
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(refuse_redirect)
        async_context.set(_BaseUrlAdapter(self._base_url))
        # Connecting has a limit of its own: if it is reached, the request was not sent.
        timeout = aiohttp.ClientTimeout(total=2 * self._timeout_s, sock_connect=self._timeout_s)
        async with aiohttp.ClientSession(timeout=timeout, raise_for_status=check, trace_configs=[trace]) as session:
            webhook = discord.Webhook.partial(self._hook.id, self._hook.token, session=session)
            # Only with `wait` does Discord's response tell whether the message was saved.
            with suppress(_MessageAccepted):
                await webhook.send(
                    text, wait=True, allowed_mentions=discord.AllowedMentions.none(), suppress_embeds=True
                )


class _MessageAccepted(Exception):
    """The response status is 2xx, so Discord has the message, even if reading the body fails."""


class _BaseUrlAdapter(AsyncWebhookAdapter):
    """Sends to `base_url` instead of discord.py's constant. Set in the task's context, so no global state changes."""

    def __init__(self, base_url: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._base_url = base_url

    async def request(self, route: Route, session: aiohttp.ClientSession, **options: Any) -> Any:
        route.url = self._base_url + route.url.removeprefix(Route.BASE)
        return await super().request(route, session, **options)


async def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """The wait from the body, which is exact to the millisecond, or else from the header."""
    try:
        body = await response.json(content_type=None)
    except (ValueError, aiohttp.ClientError):
        body = None
    exact = retry_after_of(body.get("retry_after")) if isinstance(body, dict) else None
    return exact if exact is not None else retry_after_of(response.headers.get("Retry-After"))
