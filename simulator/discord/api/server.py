"""Runs the simulated Discord in a thread: REST, gateway, attachments and the page on one port of this machine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiohttp import web

from simulator.discord.api.gateway import GatewayServer
from simulator.discord.api.page import PageApi
from simulator.discord.api.rest import RestApi
from simulator.discord.message_rules import LARGEST_UPLOAD_BYTES
from simulator.discord.simulation import DiscordSimulation

HOST = "127.0.0.1"
START_S = 60.0

T = TypeVar("T")


class DiscordServer:
    """Only `call` and `run` may be used from other threads: all state belongs to the server's thread."""

    def __init__(self, simulation: DiscordSimulation, port: int = 0) -> None:
        self.simulation = simulation
        self.gateway = GatewayServer(simulation)
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="simulated-discord", daemon=True)

    @property
    def url(self) -> str:
        return self.simulation.state.base_url

    def start(self) -> None:
        """Returns when the server listens. Raises OSError if the port is in use, or after 60 s."""
        self._thread.start()
        is_started = self._started.wait(START_S)
        if self._failure is not None:
            raise self._failure
        if not is_started:
            raise TimeoutError(f"the server did not listen within {START_S:g} s")

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def call(self, function: Callable[[], T]) -> T:
        """The result of a function that the server's thread runs. Raises what the function raises.

        After the end of the server the caller runs it, because nothing changes any more.
        """
        if self._loop.is_closed():
            return function()

        async def run() -> T:
            return function()

        return self.run(run())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except Exception as error:  # noqa: BLE001 - the thread that started the server raises it
            self._failure = error
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()
            self._started.set()

    async def _serve(self) -> None:
        app = web.Application(client_max_size=3 * LARGEST_UPLOAD_BYTES)
        RestApi(self.simulation).add_to(app)
        self.gateway.add_to(app)
        PageApi(self.simulation).add_to(app)
        app.router.add_get("/attachments/{channel}/{attachment}/{filename}", self._attachment)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, HOST, self._port)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.simulation.state.base_url = f"http://{host}:{port}"
            self._started.set()
            await self._stop.wait()
        finally:
            await runner.cleanup()

    async def _attachment(self, request: web.Request) -> web.Response:
        """A file of a message. A browser must not run it as a page of this server."""
        wanted = request.match_info["attachment"]
        for message in self.simulation.state.messages.values():
            for file in message.files:
                if str(file.id) == wanted:
                    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
                    kind = file.upload.content_type
                    if not kind.startswith("image/"):
                        headers["Content-Disposition"] = "attachment"
                    return web.Response(body=file.upload.content, content_type=kind, headers=headers)
        raise web.HTTPNotFound
