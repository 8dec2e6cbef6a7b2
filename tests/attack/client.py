"""Sends attempts with several clients at a time and reads the responses."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from tests.attack.attempts import Attempt, Way

# Longer than all limits of the server together: a connection that is still open then is a finding.
GIVE_UP_S = 60.0
DRIP_INTERVAL_S = 0.2
# Reads nothing for so long: beyond the server's limit for sending, and its check of it.
UNREAD_S = 25.0


class Outcome(NamedTuple):
    """What an attempt got back; `is_open`: the server did not end the connection in GIVE_UP_S."""

    service: str
    attempt: Attempt
    received: bytes
    is_open: bool


Work = Sequence[tuple[str, str, int, Attempt]]
"""Service, host, port and what to send there."""


def attack(work: Work, clients: int) -> list[Outcome]:
    """Raises OSError if a service does not listen any more."""
    return asyncio.run(_send_all(work, clients))


async def _send_all(work: Work, clients: int) -> list[Outcome]:
    queue = iter(work)
    outcomes: list[Outcome] = []

    async def be_client() -> None:
        for service, host, port, attempt in queue:
            outcomes.append(await _send(service, host, port, attempt))

    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(be_client())
    return outcomes


async def _send(service: str, host: str, port: int, attempt: Attempt) -> Outcome:
    reader, writer = await asyncio.open_connection(host, port)
    received = bytearray()
    try:
        async with asyncio.timeout(GIVE_UP_S):
            with suppress(ConnectionError):
                await _write(writer, attempt)
                if attempt.way is not Way.RESET:
                    while chunk := await reader.read(65536):
                        received += chunk
        return Outcome(service, attempt, bytes(received), is_open=False)
    except TimeoutError:
        return Outcome(service, attempt, bytes(received), is_open=True)
    finally:
        with suppress(ConnectionError):
            await _close(writer, attempt)


async def _write(writer: asyncio.StreamWriter, attempt: Attempt) -> None:
    if attempt.way is Way.DRIPPED:
        for byte in attempt.data:
            writer.write(bytes([byte]))
            await writer.drain()
            if writer.transport.is_closing():
                return
            await asyncio.sleep(DRIP_INTERVAL_S)
        return
    if attempt.way is Way.UNREAD:
        reading = writer.transport
        assert isinstance(reading, asyncio.Transport)
        reading.pause_reading()
        writer.write(attempt.data)
        await asyncio.sleep(UNREAD_S)
        reading.resume_reading()
        return
    writer.write(attempt.data)
    await writer.drain()
    if attempt.way is Way.CUT:
        writer.write_eof()


async def _close(writer: asyncio.StreamWriter, attempt: Attempt) -> None:
    if attempt.way is Way.RESET:
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()
    await writer.wait_closed()
