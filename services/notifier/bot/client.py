"""The connection to Discord: discord.py's gateway and its REST client, with both addresses as parameters.

discord.py keeps the two addresses in class attributes. They are replaced here for one client, so that nothing global
changes. Only the events that the bot uses are parsed, from their raw form: discord.py's own parsers raise out of the
connection when Discord leaves a field out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import aiohttp
import discord
import structlog
from discord.gateway import DiscordWebSocket, ReconnectWebSocket
from discord.http import HTTPClient, Route
from yarl import URL

from services.notifier.channels.base import ChannelRefused
from shared.backoff import Backoff

CONNECT_TIMEOUT_S = 30.0
STABLE_S = 10.0
# Discord repeats what was missed when a session is resumed, and a person waits 3 s at most. It allows one new session
# in 5 s and 1,000 a day, and resets the bot's token after more.
RESUME_BACKOFF, IDENTIFY_BACKOFF = Backoff(0.1, 2.0), Backoff(1.0, 120.0, factor=1.5)
IDENTIFY_INTERVAL_S = 5.0
# After that many in a row the session is given up, about 15 s: its address may not exist any more.
MAX_FAILED_RESUMES = 10
REFUSED_TOKEN_CODE = 4004
# With 1000, Discord would end the session.
RESUMABLE_CLOSE_CODE = 4000
TOKEN_REFUSED = "Discord refuses the bot's token: put a new one into notifier.bot_token_file"  # noqa: S105
# Discord's close codes after which a new attempt gives the same result: refused token, shards, version or intents.
FINAL_CLOSE_CODES = frozenset({4004, 4010, 4011, 4012, 4013, 4014})
log = structlog.get_logger("notifier.bot")

OnInteraction = Callable[[Mapping[str, Any]], None]
OnConnected = Callable[[bool], None]


class TokenRefused(ChannelRefused):
    """Discord does not accept the bot's token. Nothing can be sent until the operator sets another one."""


class BotSession(NamedTuple):
    """A session of the gateway, up to the last event received. Repeated events are harmless."""

    id: str
    sequence: int
    gateway: str


class SendAttempt:
    """Tells whether a request reached the network, and so may have an effect although it failed.

    It is not sent after `deadline_s` of the monotonic clock: a process that was stopped for a while may have lost its
    claim of the message to another one.
    """

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self.may_have_effect = False


class ServerFailed(Exception):
    """Discord answered a request that is not to be repeated with 5xx: it may or may not have had an effect."""


class _Http(HTTPClient):
    """Sends to `base_url` instead of discord.py's constant."""

    base_url = Route.BASE

    async def request(self, route: Route, **options: Any) -> Any:
        route.url = self.base_url + route.url.removeprefix(Route.BASE)
        try:
            return await super().request(route, **options)
        except asyncio.CancelledError:
            # The request may have been waiting for the end of a global limit, during which discord.py holds back all
            # others. Nothing else would release them.
            self._global_over.set()
            raise


class DiscordClient(discord.Client):
    """One login. `on_interaction` gets the data of each INTERACTION_CREATE event, in the event loop.

    `on_connected` is called with True when the session is ready or resumed, and with False when its connection ends.
    """

    def __init__(
        self, base_url: str, gateway_url: str | None, on_interaction: OnInteraction, on_connected: OnConnected
    ) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(_note_start)
        trace.on_request_end.append(_raise_if_failed)
        super().__init__(intents=discord.Intents(guilds=True))
        self.http = _Http(self.loop, http_trace=trace, max_ratelimit_timeout=60)
        self.http.base_url = base_url.rstrip("/")
        self._gateway_url = None if gateway_url is None else URL(gateway_url)
        self._connection.http = self.http
        self._connection.parsers = {
            "READY": self._on_ready,
            "RESUMED": self._on_resumed,
            "INTERACTION_CREATE": on_interaction,
        }
        self._on_connected = on_connected
        self.identity = 0
        self._identified_s = 0.0
        self._is_ready = False
        self.session: BotSession | None = None

    async def authenticate(self, token: str) -> int:
        """Check the token; returns the bot's application id. Raises TokenRefused."""
        await self._async_setup_hook()
        try:
            user = await self.http.static_login(token)
            application = await self.http.request(Route("GET", "/applications/@me"))
        except discord.LoginFailure as error:
            raise TokenRefused(TOKEN_REFUSED) from error
        self.identity = int(user["id"])
        return int(application["id"])

    async def receive(self, earlier: BotSession | None, may_connect: asyncio.Event) -> None:
        """Receive events until the task is cancelled. Resumes its session after a lost connection, and at first the
        session of an earlier client, so that no event is lost in between. Waits for `may_connect` before it connects:
        another replica may have resumed the session.

        Raises TokenRefused, and discord.ConnectionClosed if Discord does not want this client again.
        """
        short_ones = new_sessions = failed_resumes = 0
        resumed, initial = earlier, True
        while True:
            await may_connect.wait()
            began_s, self._is_ready = time.monotonic(), False
            try:
                await self._connect(resumed, initial)
            except ReconnectWebSocket as reconnect:
                resumed = (self.session or resumed) if reconnect.resume else None
                cause = "Discord asks for it"
            except discord.ConnectionClosed as closed:
                if closed.code == REFUSED_TOKEN_CODE:
                    raise TokenRefused(TOKEN_REFUSED) from closed
                if closed.code in FINAL_CLOSE_CODES:
                    raise
                resumed, cause = self.session, f"closed with {closed.code}"
            except (OSError, aiohttp.ClientError) as error:
                resumed, cause = self.session or resumed, type(error).__name__
            initial = False
            failed_resumes = 0 if self._is_ready else failed_resumes + 1
            if failed_resumes >= MAX_FAILED_RESUMES:
                resumed = None
            # A connection that ends soon after its start may do so again and again.
            if time.monotonic() - began_s > STABLE_S:
                short_ones = new_sessions = 0
            short_ones, new_sessions = short_ones + 1, new_sessions + (resumed is None)
            delay_s = RESUME_BACKOFF.delay_s(short_ones) if resumed else IDENTIFY_BACKOFF.delay_s(new_sessions)
            log.warning("bot_connection_lost", cause=cause, retry_s=round(delay_s, 2), resumes=resumed is not None)
            await asyncio.sleep(delay_s)

    async def before_identify_hook(self, _: int | None, *, initial: bool = False) -> None:
        """Keep Discord's interval between new sessions. discord.py waits for all of it each time."""
        if not initial:
            await asyncio.sleep(max(0.0, self._identified_s + IDENTIFY_INTERVAL_S - time.monotonic()))
        self._identified_s = time.monotonic()

    async def leave(self) -> None:
        """Close the connection so that the session can be resumed by a successor."""
        if self.ws is not None and self.ws.open:
            await self.ws.close(code=RESUMABLE_CLOSE_CODE)

    async def _connect(self, resumed: BotSession | None, initial: bool) -> None:
        """Receive events until the connection ends, which raises."""
        parameters: dict[str, Any] = {"initial": initial, "gateway": self._gateway_url}
        if resumed is not None:
            parameters = {"resume": True, "session": resumed.id, "sequence": resumed.sequence}
            parameters["gateway"] = URL(resumed.gateway)
        socket = await asyncio.wait_for(DiscordWebSocket.from_client(self, **parameters), CONNECT_TIMEOUT_S)
        self.ws = socket
        try:
            while True:
                await socket.poll_event()
                if socket.session_id is not None and socket.sequence is not None:
                    self.session = BotSession(socket.session_id, socket.sequence, str(socket.gateway))
        finally:
            self._on_connected(False)

    def _on_ready(self, data: Mapping[str, Any]) -> None:
        self._is_ready = True
        self._on_connected(True)
        log.info("bot_ready", bot_user=data.get("user", {}).get("id"))

    def _on_resumed(self, _: Mapping[str, Any]) -> None:
        self._is_ready = True
        self._on_connected(True)
        log.info("bot_session_resumed")


async def _note_start(_: object, context: Any, __: object) -> None:
    attempt = context.trace_request_ctx
    if isinstance(attempt, SendAttempt):
        if time.monotonic() >= attempt.deadline_s:
            raise TimeoutError
        attempt.may_have_effect = True


async def _raise_if_failed(_: object, context: Any, end: aiohttp.TraceRequestEndParams) -> None:
    """discord.py repeats a request that got a 5xx, which would send a message twice."""
    attempt = context.trace_request_ctx
    if not isinstance(attempt, SendAttempt):
        return
    if end.response.status >= 500:
        end.response.close()
        raise ServerFailed(f"HTTP {end.response.status}")
    if end.response.status >= 400:
        attempt.may_have_effect = False
