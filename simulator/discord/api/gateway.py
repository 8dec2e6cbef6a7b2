"""Serves the gateway: a websocket over which the bot receives events."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

from aiohttp import WSMessage, WSMsgType, web

from simulator.discord.errors import Payload
from simulator.discord.gateway_sessions import KNOWN_INTENTS, PRIVILEGED, GatewaySession
from simulator.discord.routes.identity import gateway_url
from simulator.discord.simulation import DiscordSimulation

# Opcodes and close codes of Discord's gateway.
HEARTBEAT, IDENTIFY, PRESENCE, VOICE, RESUME = 1, 2, 3, 4, 6
MEMBERS, INVALID, HELLO, ACKNOWLEDGED = 8, 9, 10, 11
UNKNOWN_OPCODE, DECODE_ERROR, NOT_AUTHENTICATED, WRONG_TOKEN, ALREADY_AUTHENTICATED = 4001, 4002, 4003, 4004, 4005
INVALID_INTENTS, DISALLOWED_INTENTS = 4013, 4014
SESSION_TIMED_OUT = 4009
READY_POLL_S = 0.01


class GatewayServer:
    def __init__(self, simulation: DiscordSimulation) -> None:
        self._simulation = simulation
        self._connections: set[GatewayConnection] = set()

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/gateway", self._serve)
        app.router.add_get("/gateway/", self._serve)
        app.on_shutdown.append(self._close_all)

    @property
    def connections(self) -> int:
        return len(self._connections)

    def close(self, code: int) -> None:
        """Close every connection with this code."""
        for connection in self._connections:
            connection.close(code)

    def drop(self) -> None:
        """Cut every connection without a close frame."""
        for connection in self._connections:
            connection.drop()

    def send(self, payload: Payload) -> None:
        for connection in self._connections:
            connection.send(payload)

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=4096)
        await socket.prepare(request)
        connection = GatewayConnection(self._simulation, socket, request)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self._simulation.state.emit("FAKE_SESSIONS_CHANGED", {})
        return socket

    async def _close_all(self, _: web.Application) -> None:
        for connection in list(self._connections):
            await connection.socket.close(code=1001)


class GatewayConnection:
    """One connection. What is to be sent waits in a queue, so that events keep their order."""

    def __init__(self, simulation: DiscordSimulation, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self._simulation = simulation
        self._request = request
        self._session: GatewaySession | None = None
        self._outgoing: asyncio.Queue[Payload | int] = asyncio.Queue()

    async def run(self) -> None:
        sender = asyncio.create_task(self._send_all())
        faults = self._simulation.gateway_faults
        self.send({"op": HELLO, "d": {"heartbeat_interval": int(self._simulation.heartbeat_s * 1000)}})
        if (code := faults.next_close_code()) is not None:
            self.close(code)
        try:
            while True:
                # A client that misses two heartbeats is gone.
                message = await self.socket.receive(timeout=2.5 * self._simulation.heartbeat_s)
                if message.type is not WSMsgType.TEXT:
                    break
                await self._receive(message)
        except TimeoutError:
            await self.socket.close(code=SESSION_TIMED_OUT)
        finally:
            sender.cancel()
            if self._session is not None and self._session.send == self.send:
                self._session.send = None

    def send(self, payload: Payload) -> None:
        self._outgoing.put_nowait(payload)

    def close(self, code: int) -> None:
        self._outgoing.put_nowait(code)

    def drop(self) -> None:
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _send_all(self) -> None:
        with suppress(ConnectionError):
            while True:
                item = await self._outgoing.get()
                if isinstance(item, int):
                    await self.socket.close(code=item)
                    return
                await self.socket.send_str(json.dumps(item))

    async def _receive(self, message: WSMessage) -> None:
        try:
            payload = json.loads(message.data)
            opcode, data = payload["op"], payload.get("d")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self.close(DECODE_ERROR)
            return
        if opcode == HEARTBEAT:
            if not self._simulation.gateway_faults.ignores_heartbeats:
                self.send({"op": ACKNOWLEDGED, "d": None})
        elif opcode in (IDENTIFY, RESUME):
            if not isinstance(data, dict):
                self.close(DECODE_ERROR)
            elif self._session is not None:
                self.close(ALREADY_AUTHENTICATED)
            elif not self._simulation.accepts(str(data.get("token")).removeprefix("Bot ")):
                self.close(WRONG_TOKEN)
            else:
                await (self._identify(data) if opcode == IDENTIFY else self._resume(data))
        elif opcode not in (PRESENCE, VOICE, MEMBERS):
            self.close(UNKNOWN_OPCODE)
        elif self._session is None:
            self.close(NOT_AUTHENTICATED)

    async def _identify(self, data: Payload) -> None:
        intents = data.get("intents")
        if isinstance(intents, bool) or not isinstance(intents, int) or not 0 <= intents <= KNOWN_INTENTS:
            self.close(INVALID_INTENTS)
            return
        if intents & PRIVILEGED:
            self.close(DISALLOWED_INTENTS)
            return
        if self._is_invalidated():
            return
        await self._delayed()
        simulation = self._simulation
        session = self._session = simulation.sessions.start(intents)
        session.send = self.send
        session.dispatch("READY", simulation.sessions.ready(session, gateway_url(simulation.state)))
        session.dispatch("GUILD_CREATE", simulation.state.guild.create_payload())
        simulation.state.emit("FAKE_SESSIONS_CHANGED", {})

    async def _resume(self, data: Payload) -> None:
        if self._is_invalidated():
            return
        await self._delayed()
        session = self._simulation.sessions.resumable(data.get("session_id"), data.get("seq"))
        if session is None:
            self.send({"op": INVALID, "d": False})
            return
        self._session = session
        for event in session.after(data["seq"]):
            self.send(event)
        session.send = self.send
        session.dispatch("RESUMED", {})
        self._simulation.sessions.resumed += 1
        self._simulation.state.emit("FAKE_SESSIONS_CHANGED", {})

    async def _delayed(self) -> None:
        while self._simulation.gateway_faults.delays_sessions:
            await asyncio.sleep(READY_POLL_S)

    def _is_invalidated(self) -> bool:
        """Answer with INVALID_SESSION if a test planned it."""
        resumable = self._simulation.gateway_faults.next_invalidation()
        if resumable is not None:
            self.send({"op": INVALID, "d": resumable})
        return resumable is not None
