"""Bounds the connections of the admin API's server: their number, and the time of each step.

uvicorn has no deadline for receiving a request, and at its limit of connections an idle one keeps a new one out. The
protocol here extends uvicorn's for h11, which is chosen deliberately: it refuses everything that is not strictly
HTTP/1.1 and bounds an incomplete head, and its speed is enough for an admin API.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from typing import Any, ClassVar
from uuid import uuid4

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from shared.runtime.api.connection_table import CLOSED, ConnectionLimits, ConnectionTable, CountStatus
from shared.runtime.api.problems import MEDIA_TYPE, REQUEST_ID, problem_bytes

# Connections beyond the limit that may wait for their 503. Any further one is closed at once.
REFUSALS = 32
# After a refusal, what the client still sends is read for so long: closing at once would discard the response.
LINGER_S = 1.0


class BoundedProtocol(H11Protocol):
    """One connection. A class of its own for each server: `bounded_protocol`."""

    table: ClassVar[ConnectionTable]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._socket_transport: asyncio.Transport | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._early_data = b""
        self._receiving: object = None
        self._receive_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        self._is_refused = False
        self._is_ending = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._socket_transport = transport
        self.table.open.add(self)
        if not self.table.has_descriptors(transport.get_extra_info("socket").fileno()):
            self.abort("too few file descriptors are left")
        elif len(self.table.open) > self.table.limits.max_connections + REFUSALS:
            self.abort("too many connections")
        else:
            self._is_refused = not self.table.make_room()
            self.table.new[self] = time.monotonic()
            if self.table.tls is None:
                self._accept(transport)
            else:
                transport.pause_reading()
                self._handshake = self.loop.create_task(self._start_tls(transport, self.table.tls))

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        if self.transport is not None:
            super().connection_lost(exc)
            self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        if self._is_ending:
            return
        if self.flow is None:  # it came with the end of the handshake, before start_tls returned
            self._early_data += data
            return
        if self._is_refused:
            self._refuse(503, "the server has too many connections; try again later, or raise admin.max_connections")
            return
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._limit_sending()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        error = sys.exc_info()[1]  # the caller handles h11's error, which knows a better status
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        if status == 431:
            detail = f"the head of the request is larger than {self.table.limits.max_head_bytes} bytes; shorten it"
        else:
            detail = f"the request is not valid HTTP/1.1 ({error or msg}); check the client"
        self._refuse(status, detail)

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._limit_sending()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._limit_sending()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._send_timer is not None and not self.transport.is_closing():
            self._send_timer.cancel()
            self._send_timer = None

    def abort(self, reason: str) -> None:
        """Closes the connection without a response."""
        self.table.note(CLOSED, reason)
        self._forget()
        transport = self.transport or self._socket_transport
        if transport is not None:
            transport.abort()

    def _accept(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._receiving = h11.IDLE
        self._start_receive_timer(self.table.limits.head_s)

    async def _start_tls(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        limits = self.table.limits
        try:
            encrypted = await self.loop.start_tls(
                transport, self, tls, server_side=True, ssl_handshake_timeout=limits.head_s,
                ssl_shutdown_timeout=limits.send_s,
            )  # fmt: skip
        except (OSError, ssl.SSLError):
            encrypted = None
        if encrypted is None or encrypted.is_closing():
            self.abort("the TLS handshake failed")
            return
        self._accept(encrypted)
        if self._early_data:
            self.data_received(self._early_data)

    def _watch(self) -> None:
        """Notes whether a request is in work, and limits the time in which the rest of one is received."""
        if self._is_ending:
            return
        is_working = self.cycle is not None and not self.cycle.response_complete
        if is_working:
            self.table.new.pop(self, None)
            self.table.idle.pop(self, None)
        elif self in self.table.open and self not in self.table.new:
            self.table.idle.setdefault(self, time.monotonic())
        state = self.conn.their_state
        receiving = state if state is h11.SEND_BODY or (state is h11.IDLE and self.conn.trailing_data[0]) else None
        if receiving is self._receiving:
            return
        self._receiving = receiving
        self._stop_receive_timer()
        if receiving is not None:
            self._unset_keepalive_if_required()
            self._start_receive_timer(self.table.limits.body_s if state is h11.SEND_BODY else self.table.limits.head_s)

    def _stop_receive_timer(self) -> None:
        if self._receive_timer is not None:
            self._receive_timer.cancel()
            self._receive_timer = None

    def _start_receive_timer(self, seconds: float) -> None:
        self._receive_timer = self.loop.call_later(seconds, self._refuse_slow_request, seconds)

    def _refuse_slow_request(self, seconds: float) -> None:
        self._receive_timer = None
        part = "body" if self._receiving is h11.SEND_BODY else "head"
        self._refuse(408, f"the {part} of the request did not arrive within {seconds:g} s; send it faster")

    def _refuse(self, status: int, detail: str) -> None:
        """Sends a problem if no response has begun, and ends the connection."""
        if self.transport.is_closing() or self._is_ending:
            return
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.abort(detail)
            return
        self.table.note(str(status), detail)
        request_id = str(uuid4())
        body = problem_bytes(status, detail, request_id)
        headers = [
            ("content-type", MEDIA_TYPE), ("content-length", str(len(body))), (REQUEST_ID, request_id),
            ("connection", "close"), *([("retry-after", "1")] if status == 503 else []),
        ]  # fmt: skip
        response = h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES[status])
        for event in (response, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._is_ending = True
        self._unset_keepalive_if_required()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
            self._stop_receive_timer()
            self._receive_timer = self.loop.call_later(LINGER_S, self.transport.close)
        else:
            self.transport.close()
        self._limit_sending()

    def _limit_sending(self) -> None:
        if self._send_timer is None:
            self._unsent_bytes = self.transport.get_write_buffer_size()
            self._send_timer = self.loop.call_later(self.table.limits.send_s, self._check_sending)

    def _check_sending(self) -> None:
        self._send_timer = None
        if self not in self.table.open:
            return
        if self.transport.get_write_buffer_size() < self._unsent_bytes:
            self._limit_sending()
        else:
            self.abort("the client does not read the response")

    def _forget(self) -> None:
        self.table.open.discard(self)
        self.table.new.pop(self, None)
        self.table.idle.pop(self, None)
        for timer in (self._receive_timer, self._send_timer):
            if timer is not None:
                timer.cancel()


def bounded_protocol(
    limits: ConnectionLimits, count: CountStatus, tls: ssl.SSLContext | None = None
) -> type[BoundedProtocol]:
    """The protocol of one server, for uvicorn's setting `http`."""

    class ServerProtocol(BoundedProtocol):
        table = ConnectionTable(limits, count, tls)

    return ServerProtocol
