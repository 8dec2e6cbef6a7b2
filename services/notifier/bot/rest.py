"""Discord's REST API as the bot uses it: messages, direct messages, threads, pins, commands."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import discord
from discord.http import Route

from services.notifier.bot.answers import AttachedFile
from services.notifier.bot.client import DiscordClient, SendAttempt, ServerFailed, TokenRefused
from services.notifier.bot.responder import form_of
from services.notifier.channels.base import ChannelBusy, ChannelClosed, ChannelRefused, ChannelUncertain

FAILURES = (discord.DiscordException, ServerFailed, aiohttp.ClientError, OSError)
CANNOT_MESSAGE_PERSON = 50007
THREAD_EXISTS = 160004
UNKNOWN_MESSAGE = 10008
ARCHIVED_THREAD = 50083
# Shorter than the sender waits (channel.SEND_LIMIT_S): a message that only waited for a rate limit was not sent.
CREATE_LIMIT_S = 15.0
MAX_SEARCH_PAGES, PAGE = 5, 100


class PersonBlocks(ChannelRefused):
    """The person does not accept direct messages of the bot."""


class UnknownTarget(ChannelClosed):
    """The channel or message does not exist, or the bot cannot see it."""


class UnknownMessage(UnknownTarget):
    """The channel exists, but the message does not: someone deleted it."""


class ArchivedThread(ChannelRefused):
    """The message is in a thread that is archived."""


class DiscordRest:
    """Used in the event loop of `client`. Every method raises ChannelBusy (try again later), ChannelRefused (never),
    ChannelClosed (not in this channel), PersonBlocks or TokenRefused; `create_message` also ChannelUncertain."""

    def __init__(self, client: DiscordClient) -> None:
        self._client = client
        self._direct_channels: dict[int, int] = {}

    async def create_message(
        self,
        channel_id: int,
        body: Mapping[str, Any],
        nonce: str,
        files: Sequence[AttachedFile] = (),
        deadline_s: float = math.inf,
    ) -> int:
        """Send a message once, before `deadline_s` of the monotonic clock; returns its id.

        Discord itself ignores the same nonce for some minutes.
        """
        deadline_s = min(deadline_s, time.monotonic() + CREATE_LIMIT_S)
        attempt = SendAttempt(deadline_s)
        route = Route("POST", "/channels/{channel_id}/messages", channel_id=channel_id)
        payload = {**body, "nonce": nonce, "enforce_nonce": True}
        try:
            async with asyncio.timeout(deadline_s - time.monotonic()):
                message = await self._client.http.request(
                    route, trace_request_ctx=attempt, **_body_options(payload, tuple(files))
                )
        except FAILURES as error:
            failure = _failure_of(error)
            was_sent = attempt.may_have_effect and not isinstance(error, aiohttp.ClientConnectorError)
            if was_sent and isinstance(failure, ChannelBusy):
                raise ChannelUncertain(str(failure)) from None
            raise failure from None
        return int(message["id"])

    async def edit_message(
        self, channel_id: int, message_id: int, body: Mapping[str, Any], files: Sequence[AttachedFile] = ()
    ) -> None:
        route = Route(
            "PATCH", "/channels/{channel_id}/messages/{message_id}", channel_id=channel_id, message_id=message_id
        )
        await self._request(route, **_body_options(dict(body), tuple(files)))

    async def find_message(self, channel_id: int, mark: str) -> int | None:
        """The id of the bot's message whose footer contains `mark`; None if there is none.

        Raises ChannelRefused if the bot may not read the channel's history, or if there are too many messages to tell.
        """
        before: dict[str, str] = {}
        for _ in range(MAX_SEARCH_PAGES):
            route = Route("GET", "/channels/{channel_id}/messages", channel_id=channel_id)
            messages = await self._request(route, params={"limit": str(PAGE), **before})
            for message in messages:
                if self._is_own(message, mark):
                    return int(message["id"])
            if len(messages) < PAGE:
                return None
            before = {"before": str(min(int(message["id"]) for message in messages))}
        raise ChannelRefused(f"the channel has more than {MAX_SEARCH_PAGES * PAGE} newer messages")

    async def direct_channel(self, person_id: int) -> int:
        """The channel for direct messages to a person."""
        if person_id not in self._direct_channels:
            channel = await self._request(Route("POST", "/users/@me/channels"), json={"recipient_id": str(person_id)})
            self._direct_channels[person_id] = int(channel["id"])
        return self._direct_channels[person_id]

    async def open_thread(self, channel_id: int, message_id: int, name: str) -> None:
        """Open the thread of a message, unless it has one."""
        route = Route(
            "POST", "/channels/{channel_id}/messages/{message_id}/threads", channel_id=channel_id, message_id=message_id
        )
        try:
            await self._client.http.request(route, json={"name": name, "auto_archive_duration": 1440})
        except FAILURES as error:
            if not (isinstance(error, discord.HTTPException) and error.code == THREAD_EXISTS):
                raise _failure_of(error) from None

    async def reopen_thread(self, thread_id: int) -> None:
        """Open an archived thread, so that its messages can be edited."""
        route = Route("PATCH", "/channels/{channel_id}", channel_id=thread_id)
        await self._request(route, json={"archived": False})

    async def pin(self, channel_id: int, message_id: int) -> None:
        try:
            await self._request(_pin_route("/channels/{channel_id}/messages/pins/{message_id}", channel_id, message_id))
        except UnknownTarget:  # the route of older versions of the API
            await self._request(_pin_route("/channels/{channel_id}/pins/{message_id}", channel_id, message_id))

    async def find_pinned(self, channel_id: int, mark: str) -> int | None:
        """The id of the bot's pinned message whose footer contains `mark`; None if there is none."""
        body = await self._request(Route("GET", "/channels/{channel_id}/messages/pins", channel_id=channel_id))
        own = (item["message"] for item in body["items"])
        return next((int(message["id"]) for message in own if self._is_own(message, mark)), None)

    def _is_own(self, message: Mapping[str, Any], mark: str) -> bool:
        return int(message["author"]["id"]) == self._client.identity and _has_mark(message, mark)

    async def publish_commands(self, application_id: int, commands: Sequence[Mapping[str, Any]]) -> None:
        """Replace the application's commands."""
        route = Route("PUT", "/applications/{application_id}/commands", application_id=application_id)
        await self._request(route, json=list(commands))

    async def _request(self, route: Route, **options: Any) -> Any:
        try:
            return await self._client.http.request(route, **options)
        except FAILURES as error:
            raise _failure_of(error) from None


_BY_CODE: Mapping[int, tuple[type[ChannelRefused], str]] = {
    CANNOT_MESSAGE_PERSON: (PersonBlocks, "the person does not accept direct messages of the bot"),
    ARCHIVED_THREAD: (ArchivedThread, "the thread is archived"),
    UNKNOWN_MESSAGE: (UnknownMessage, "the message was deleted"),
}


def _body_options(payload: dict[str, Any], files: tuple[AttachedFile, ...]) -> dict[str, Any]:
    return {"json": payload} if not files else {"data": form_of(payload, files)}


def _pin_route(path: str, channel_id: int, message_id: int) -> Route:
    return Route("PUT", path, channel_id=channel_id, message_id=message_id)


def _has_mark(message: Mapping[str, Any], mark: str) -> bool:
    return any(mark in (embed.get("footer") or {}).get("text", "") for embed in message.get("embeds") or ())


def _failure_of(error: Exception) -> Exception:
    """The failure as the sender understands it, without a URL."""
    if isinstance(error, discord.RateLimited):
        return ChannelBusy("Discord limits the rate", error.retry_after)
    if isinstance(error, discord.HTTPException):
        return _failure_of_status(error)
    cause = str(error) if isinstance(error, ServerFailed) else type(error).__name__
    return ChannelBusy(f"Discord did not answer: {cause}")


def _failure_of_status(error: discord.HTTPException) -> Exception:
    reason = f"Discord answered HTTP {error.status} (code {error.code})"
    if error.status == 401:
        return TokenRefused(f"{reason}: put a new token into notifier.bot_token_file")
    if error.code in _BY_CODE:
        failure, cause = _BY_CODE[error.code]
        return failure(f"{reason}: {cause}")
    if error.status == 403:
        return ChannelClosed(f"{reason}: give the bot the permissions of docs/notifications.md in this channel")
    if error.status == 404:
        return UnknownTarget(f"{reason}: the channel or message does not exist, or the bot cannot see it")
    if error.status == 429 or error.status >= 500:
        return ChannelBusy(reason)
    return ChannelRefused(f"{reason}: it does not accept this message")
