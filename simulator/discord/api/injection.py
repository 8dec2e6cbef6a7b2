"""Makes the simulated Discord fail in the way that a test needs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from simulator.discord.api.server import DiscordServer
from simulator.discord.faults import Fault, GatewayFaults


class DiscordFaults:
    """`gateway`: faults of the gateway that hold from the next event or connection on."""

    def __init__(self, server: DiscordServer) -> None:
        self._server = server

    @property
    def gateway(self) -> GatewayFaults:
        return self._server.simulation.gateway_faults

    def plan(self, fault: Fault) -> Fault:
        """Plan a fault of the REST API; its `hits` say how often it happened."""
        return self._server.call(lambda: self._server.simulation.faults.add(fault))

    def heal(self) -> None:
        """Forget all planned faults and accept the token again."""

        def forget() -> None:
            self._server.simulation.faults.clear()
            self._server.simulation.is_revoked = False
            self._server.simulation.gateway_faults = GatewayFaults()

        self._server.call(forget)

    @contextmanager
    def held(self, route: str) -> Iterator[Fault]:
        """Requests to this route take effect, but get no response before the block ends."""
        released = threading.Event()
        fault = self.plan(Fault(route, times=1_000_000, is_held=lambda: not released.is_set()))
        try:
            yield fault
        finally:
            released.set()
            self._server.call(lambda: setattr(fault, "times", fault.hits))

    def revoke_token(self) -> None:
        """From now on the API answers with 401, and the gateway closes with 4004."""

        def revoke() -> None:
            self._server.simulation.is_revoked = True
            self._server.gateway.close(4004)

        self._server.call(revoke)

    def drop_gateway(self) -> None:
        """Cut the connection without a close frame; the session can be resumed."""
        self._server.call(self._server.gateway.drop)

    def close_gateway(self, code: int) -> None:
        self._server.call(lambda: self._server.gateway.close(code))

    def request_reconnect(self) -> None:
        """Send RECONNECT."""
        self._server.call(lambda: self._server.gateway.send({"op": 7, "d": None}))

    def invalidate_session(self, resumable: bool = False) -> None:
        """Send INVALID_SESSION; a session that is not resumable is forgotten."""

        def invalidate() -> None:
            for session in self._server.simulation.sessions.connected():
                session.is_invalid = not resumable
            self._server.gateway.send({"op": 9, "d": resumable})

        self._server.call(invalidate)
