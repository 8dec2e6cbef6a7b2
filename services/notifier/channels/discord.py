"""Tells in a Discord channel, through a webhook.

discord.py builds the request; waiting and trying again is the sender's job, so every answer leaves discord.py's own
loop (up to 25 s of sleep) before it is looked at there, and before the URL is logged (at DEBUG).
The webhook's URL is a secret: whoever has it can write.
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

from services.notifier.channels.base import ChannelBusy, ChannelRefused, Message, refusal, seconds_of
from services.notifier.channels.secret_url import SecretUrl, is_safe
from services.notifier.pacing import Rate
from shared.errors import ConfigError

BASE_URL = "https://discord.com/api/v10"
WEBHOOK = re.compile(
    r"https://(?:\w+\.)?discord(?:app)?\.com/api/(?:v\d+/)?webhooks/(?P<id>\d{17,20})/(?P<token>[\w.-]{60,})"
)


class _Hook(NamedTuple):
    id: int
    token: str

    def __repr__(self) -> str:
        return "_Hook(***)"


class DiscordChannel:
    """`base_url` is where Discord's API is: a proxy of one's own, or a test's server."""

    # Discord takes 5 requests in 2 s from a webhook and 30 messages a minute in a channel.
    rate = Rate(burst=5, per_s=0.5)

    def __init__(self, url: SecretUrl, base_url: str = BASE_URL, timeout_s: float = 5, name: str = "discord") -> None:
        """Raises ConfigError, without the secret, when `url` is no webhook's."""
        found = WEBHOOK.fullmatch(url.reveal())
        if found is None:
            raise ConfigError(f"{name}: expected https://discord.com/api/webhooks/ID/TOKEN in its secret file")
        if not is_safe(base_url):
            raise ConfigError(f"{name}: expected an https:// base URL (http:// only for this machine)")
        self.name = name
        self._hook = _Hook(int(found["id"]), found["token"])
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s

    def __repr__(self) -> str:
        return f"DiscordChannel(name={self.name!r})"

    def send(self, message: Message) -> None:
        failure: Exception
        try:
            asyncio.run(self._send(message.text))
        except (ChannelBusy, ChannelRefused) as error:
            failure = error
        except (aiohttp.ClientError, OSError, TimeoutError, discord.DiscordException) as error:
            failure = ChannelBusy(f"{self.name} cannot be reached: {type(error).__name__}")
        else:
            return
        # Raised out here: the cause may name the URL, so it must not be chained.
        raise failure

    async def _send(self, text: str) -> None:
        async def check(response: aiohttp.ClientResponse) -> None:
            if response.method != "POST":
                raise ChannelRefused(f"{self.name} answered with a redirect, on which no message travels")
            if response.status < 300:
                raise _Taken
            raise refusal(self.name, response.status, await _retry_after_s(response))

        async_context.set(_Adapter(self._base_url))
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        async with aiohttp.ClientSession(timeout=timeout, raise_for_status=check) as session:
            webhook = discord.Webhook.partial(self._hook.id, self._hook.token, session=session)
            # Only with `wait` does Discord's answer say whether the message was kept.
            with suppress(_Taken):
                await webhook.send(
                    text, wait=True, allowed_mentions=discord.AllowedMentions.none(), suppress_embeds=True
                )


class _Taken(Exception):
    """Discord has the message once its answer began with 2xx: what becomes of the answer's body cannot undo that."""


class _Adapter(AsyncWebhookAdapter):
    """Sends to another base URL than discord.py's constant. It lives in the task's context, so nothing global moves."""

    def __init__(self, base_url: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._base_url = base_url

    async def request(self, route: Route, session: aiohttp.ClientSession, **options: Any) -> Any:
        route.url = self._base_url + route.url.removeprefix(Route.BASE)
        return await super().request(route, session, **options)


async def _retry_after_s(response: aiohttp.ClientResponse) -> float | None:
    """From the body, which is exact to the millisecond; else from the header."""
    try:
        body = await response.json(content_type=None)
    except (ValueError, aiohttp.ClientError):
        body = None
    exact = seconds_of(body.get("retry_after")) if isinstance(body, dict) else None
    return exact if exact is not None else seconds_of(response.headers.get("Retry-After"))
