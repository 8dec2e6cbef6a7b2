"""Answers interactions.

These requests need no bot token and do not share its rate limits, so an interaction is answered in time while messages
wait.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from typing import Any, Literal

import aiohttp

from services.notifier.bot.answers import Answer, AttachedFile, payload_of
from services.notifier.bot.interaction import EPHEMERAL, Interaction
from shared.backoff import Backoff
from shared.errors import HeadraceError

# Discord invalidates an interaction that has no response after 3 s.
RESPONSE_DEADLINE_S = 2.5
# Discord accepts edits for 15 minutes.
EDIT_DEADLINE_S = 300.0
REQUEST_TIMEOUT_S = 10.0
# A refused request counts towards Discord's limit of invalid requests, whatever wait Discord asks for. Within
# RESPONSE_DEADLINE_S there are seven attempts, within EDIT_DEADLINE_S about twenty.
RESPONSE_RETRY, RETRY = Backoff(0.1, 0.5), Backoff(0.2, 30.0)
_ALREADY_ANSWERED = 40060
_TYPES = {"message": 4, "deferred": 5, "deferred-update": 6, "choices": 8}

ResponseType = Literal["message", "deferred", "deferred-update", "choices"]


class NotAnswered(HeadraceError):
    """Discord did not take the answer in time, or will not take it."""


class Responder:
    """`base_url` is that of Discord's API. The session is closed by its owner."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._base_url = base_url.rstrip("/")

    async def defer(self, interaction: Interaction, *, private: bool, in_place: bool) -> None:
        """Promise an answer: a new message, or one that replaces the button's message. Raises NotAnswered."""
        if in_place:
            await self._respond(interaction, "deferred-update", {})
        else:
            await self._respond(interaction, "deferred", {"flags": EPHEMERAL} if private else {})

    async def answer_at_once(self, interaction: Interaction, answer: Answer) -> None:
        """A private answer without a promise before. Raises NotAnswered."""
        await self._respond(interaction, "message", payload_of(answer) | {"flags": EPHEMERAL})

    async def complete(self, interaction: Interaction, choices: list[dict[str, str]]) -> None:
        """Raises NotAnswered."""
        await self._respond(interaction, "choices", {"choices": choices})

    async def edit(self, interaction: Interaction, answer: Answer) -> None:
        """Show the answer that was promised, or replace it. Raises NotAnswered."""
        path = f"/webhooks/{interaction.application_id}/{interaction.token}"
        await self._send("PATCH", f"{path}/messages/@original", payload_of(answer), answer.files, EDIT_DEADLINE_S)

    async def add_private(self, interaction: Interaction, answer: Answer) -> None:
        """Send a further, private message. Raises NotAnswered."""
        path = f"/webhooks/{interaction.application_id}/{interaction.token}"
        await self._send("POST", path, payload_of(answer) | {"flags": EPHEMERAL}, answer.files, EDIT_DEADLINE_S)

    async def _respond(self, interaction: Interaction, kind: ResponseType, data: dict[str, Any]) -> None:
        path = f"/interactions/{interaction.id}/{interaction.token}/callback"
        await self._send("POST", path, {"type": _TYPES[kind], "data": data}, (), RESPONSE_DEADLINE_S, RESPONSE_RETRY)

    async def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any],
        files: tuple[AttachedFile, ...],
        deadline_s: float,
        backoff: Backoff = RETRY,
    ) -> None:
        """Repeat until Discord takes it: an interaction has one response, and an edit can be repeated."""
        give_up_s = time.monotonic() + deadline_s
        for number in itertools.count(1):
            retry_s, cause = await self._attempt(method, path, body, files, give_up_s - time.monotonic())
            if cause is None:
                return
            if retry_s is not None:
                retry_s = max(retry_s, backoff.delay_s(number))
            if retry_s is None or time.monotonic() + retry_s >= give_up_s:
                raise NotAnswered(f"Discord did not take the answer: {cause}")
            await asyncio.sleep(retry_s)

    async def _attempt(
        self, method: str, path: str, body: dict[str, Any], files: tuple[AttachedFile, ...], limit_s: float
    ) -> tuple[float | None, str | None]:
        """(seconds until the next attempt, None if there must be none; cause, None if Discord took it)."""
        timeout = aiohttp.ClientTimeout(total=max(0.1, min(limit_s, REQUEST_TIMEOUT_S)))
        try:
            async with self._session.request(
                method, self._base_url + path, timeout=timeout, allow_redirects=False, **_body_of(body, files)
            ) as response:
                if response.status < 300:
                    return None, None
                problem = await _problem_of(response)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return 0.0, type(error).__name__
        if problem.get("code") == _ALREADY_ANSWERED:
            return None, None
        cause = f"HTTP {response.status}"
        if response.status == 429:
            return float(problem.get("retry_after") or 1.0), cause
        return (0.0, cause) if response.status >= 500 else (None, cause)


def _body_of(body: dict[str, Any], files: tuple[AttachedFile, ...]) -> dict[str, Any]:
    if not files:
        return {"json": body}
    return {"data": form_of(body, files)}


def form_of(body: dict[str, Any], files: tuple[AttachedFile, ...]) -> aiohttp.FormData:
    """A multipart body: the message and its files."""
    form = aiohttp.FormData(quote_fields=False)
    attachments = [{"id": number, "filename": file.name} for number, file in enumerate(files)]
    form.add_field("payload_json", json.dumps(body | {"attachments": attachments}), content_type="application/json")
    for number, file in enumerate(files):
        form.add_field(f"files[{number}]", file.content, filename=file.name, content_type="application/octet-stream")
    return form


async def _problem_of(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        body = await response.json(content_type=None)
    except (ValueError, aiohttp.ClientError):
        return {}
    return body if isinstance(body, dict) else {}
