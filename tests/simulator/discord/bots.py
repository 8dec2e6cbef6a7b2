"""A bot written with discord.py that talks to a simulated Discord instead of the real one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

import discord
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import HTTPClient, Route
from discord.webhook.async_ import AsyncWebhookAdapter, async_context

from simulator.discord.fake import FakeDiscord

T = TypeVar("T")
REAL_API = "https://discord.com/api/v10"


class _RedirectedHttp(HTTPClient):
    """`base_url` replaces the address of Discord's API in this client only."""

    base_url = ""

    async def request(self, route: Route, **options: Any) -> Any:
        route.url = route.url.replace(REAL_API, self.base_url, 1)
        return await super().request(route, **options)


class _RedirectedAdapter(AsyncWebhookAdapter):
    """The same for answers to interactions."""

    def __init__(self, base_url: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._base_url = base_url

    def request(self, route: Route, *arguments: Any, **options: Any) -> Any:
        route.url = route.url.replace(REAL_API, self._base_url, 1)
        return super().request(route, *arguments, **options)


class RealBot(discord.Client):
    """A client with some commands. It counts its READY and RESUMED events and starts again at once after a drop."""

    def __init__(self, fake: FakeDiscord, intents: discord.Intents | None = None, **options: Any) -> None:
        # By default it waits 2 s for further guilds.
        options = {"guild_ready_timeout": 0.01, **options}
        super().__init__(intents=intents or discord.Intents(guilds=True), **options)
        http = _RedirectedHttp(self.http.loop)
        http.base_url = fake.api_url
        self.http = self._connection.http = http
        self.gateway_url = yarl.URL(fake.gateway_url)
        self.tree = app_commands.CommandTree(self)
        self.ready_count = 0
        self.resumed_count = 0

    async def setup_hook(self) -> None:
        await self.tree.sync()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Without the pause of 5 s."""

    async def on_ready(self) -> None:
        self.ready_count += 1

    async def on_resumed(self) -> None:
        self.resumed_count += 1


class RunningBot:
    """Runs a client in a thread. `ends`: what ended it, if it ended by itself."""

    def __init__(self, fake: FakeDiscord, bot: RealBot) -> None:
        self.bot = bot
        self.ends: BaseException | None = None
        self._fake = fake
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> RunningBot:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread.is_alive() and not self.bot.is_closed():
            self.call(self.bot.close)
        self._thread.join()

    def ready(self) -> RunningBot:
        self._fake.wait_for(lambda: self.bot.ready_count or not self._thread.is_alive(), "the bot is ready")
        assert self.bot.ready_count, f"the bot ended: {self.ends!r}"
        return self

    def call(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of a coroutine in the bot's loop."""
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result()

    def channel(self, name: str) -> discord.TextChannel:
        guild = self.bot.get_guild(self._fake.guild_id)
        assert guild is not None
        return next(channel for channel in guild.text_channels if channel.name == name)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._start())
        except (discord.DiscordException, OSError) as error:
            self.ends = error
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _start(self) -> None:
        async_context.set(_RedirectedAdapter(self._fake.api_url))
        _connect_to(self.bot)
        async with self.bot:
            await self.bot.start(self._fake.token)


def _connect_to(bot: RealBot) -> None:
    """The default gateway is an attribute of a class of discord.py, so the client opens another one itself."""
    open_socket = bot.http.ws_connect

    async def connect(url: str, **options: Any) -> Any:
        own = yarl.URL(url)
        if own.host == DiscordWebSocket.DEFAULT_GATEWAY.host:
            url = str(bot.gateway_url.with_query(own.query))
        return await open_socket(url, **options)

    bot.http.ws_connect = connect  # type: ignore[method-assign]
