"""Calls the services' REST API on behalf of a person, with the bot's delegate token."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp

from services.notifier.bot.interaction import DiscordPerson
from services.notifier.settings import PersonScope
from shared.errors import HeadraceError

# A dry run reads the log.
TIMEOUT_S = 60.0
CONNECT_S = 3.0
RETRY_S = 0.5
MAX_ATTEMPTS = 5
UNAVAILABLE = 503
MAX_DETAIL_LENGTH = 1_000


class ApiRefused(HeadraceError):
    """The service refused the request; the text is its reason."""


class ApiUnavailable(HeadraceError):
    """No replica of the service answers."""


class AdminApi:
    """`urls` returns the URLs of a service's live replicas, ready ones first. `token` is read at each request, so that
    a rotation needs no restart. The session is closed by its owner."""

    def __init__(
        self, session: aiohttp.ClientSession, token: Callable[[], str], urls: Callable[[str], Awaitable[Sequence[str]]]
    ) -> None:
        self._session = session
        self._token = token
        self._urls = urls

    async def get(self, service: str, path: str, params: Mapping[str, str] | None = None) -> Any:
        """The JSON of a resource. Raises ApiRefused, ApiUnavailable."""
        return await self._request("GET", service, path, params=params)

    async def get_bytes(self, service: str, path: str, params: Mapping[str, str] | None = None) -> bytes:
        """The body of a resource, e.g. a picture. Raises ApiRefused, ApiUnavailable."""
        content = await self._request("GET", service, path, params=params)
        if not isinstance(content, bytes):
            raise ApiRefused(f"the {service} answered with JSON instead of a file")
        return content

    async def change(
        self,
        method: str,
        service: str,
        path: str,
        body: Mapping[str, Any],
        *,
        person: DiscordPerson,
        scope: PersonScope,
        key: str,
    ) -> Any:
        """Make a change once, however often it is called with the same `key`. Raises ApiRefused, ApiUnavailable."""
        headers = {
            "On-Behalf-Of": f"discord:{person.id} ({quote(person.name, safe='')})",
            "On-Behalf-Of-Scope": scope,
            "Idempotency-Key": key,
        }
        return await self._request(method, service, path, json=dict(body), headers=headers)

    async def _request(self, method: str, service: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token()}", **options.pop("headers", {})}
        cause = "it has no live replica"
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                await asyncio.sleep(RETRY_S)
            for url in await self._urls(service):
                try:
                    async with self._session.request(
                        method, f"{url.rstrip('/')}/v1{path}", headers=headers, allow_redirects=False,
                        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, sock_connect=CONNECT_S), **options,
                    ) as response:  # fmt: skip
                        if response.status != UNAVAILABLE:
                            return await _content_of(service, response)
                        cause = "it is not ready"
                except (aiohttp.ClientError, OSError, TimeoutError) as error:
                    cause = type(error).__name__
        raise ApiUnavailable(f"the {service} does not answer: {cause}")


async def _content_of(service: str, response: aiohttp.ClientResponse) -> Any:
    """The body: bytes unless it is JSON. Raises ApiRefused with the reason of a problem response."""
    if response.status < 300 and response.content_type != "application/json":
        return await response.read()
    try:
        body = await response.json(content_type=None)
    except ValueError:
        body = {}
    if response.status < 300:
        return body
    detail = body.get("detail") or body.get("title") if isinstance(body, dict) else None
    raise ApiRefused(f"the {service} refused the request ({response.status}): {str(detail)[:MAX_DETAIL_LENGTH]}")
