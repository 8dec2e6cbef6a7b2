"""Lines between services and their servers that can be cut, slowed down and blocked: TCP proxies in one thread."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any

CHUNK_BYTES = 65536
Target = Path | tuple[str, int]
Commits = Callable[[bytes], bool]


def is_postgres_commit(data: bytes) -> bool:
    return b"COMMIT" in data


def is_kafka_commit(data: bytes) -> bool:
    """EndTxn (request 26) at the beginning of what came: four bytes of length before it."""
    return data[4:6] == b"\x00\x1a"


class Line:
    """One proxied server. Everything is done in the loop's thread; methods may be called from any other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: Target, commits: Commits) -> None:
        self.port = 0
        self.replies_lost = 0
        self._loop = loop
        self._target = target
        self._commits = commits
        self._delay_s = 0.0
        self._open = asyncio.Event()
        self._open.set()
        self._losing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break what is connected; new connections are welcome."""
        self._call(self._cut)

    def slow_down(self, delay_s: float) -> None:
        """Let each piece of data wait; 0 ends it."""
        self._call(lambda: setattr(self, "_delay_s", delay_s))

    def block(self) -> None:
        """Take everything and pass nothing on, until `unblock`."""
        self._call(self._open.clear)

    def unblock(self, *, cutting: bool) -> None:
        """Pass on what waited, or break the connections that waited."""
        if cutting:
            self.cut()
        self._call(self._open.set)

    def lose_reply(self) -> None:
        """The next commit that comes by reaches the server, and its reply is lost with the connection."""
        self._call(lambda: setattr(self, "_losing", True))

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._open.set()
        self._cut()

    def _call(self, change: Callable[[], object]) -> None:
        """Wait until the loop has done it: a fault's time is when it happened."""
        done = threading.Event()

        def run() -> None:
            change()
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait(5)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self._target, Path):
                server_reader, server = await asyncio.open_unix_connection(str(self._target))
            else:
                server_reader, server = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, server}
        self._writers |= both
        lost = asyncio.Event()
        with suppress(OSError):
            await asyncio.gather(self._pass(reader, server, lost, True), self._pass(server_reader, writer, lost, False))
        self._writers -= both
        for each in both:
            each.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event, forth: bool
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            await self._open.wait()
            if forth and self._losing and self._commits(data):
                self._losing = False
                lost.set()
            if not forth and lost.is_set():
                self.replies_lost += 1
                break
            writer.write(data)
            await writer.drain()
        writer.close()


class Lines:
    """The thread in which all lines live. Leaving the block closes them."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lines", daemon=True)
        self._lines: list[Line] = []
        self._thread.start()

    def open(self, target: Target, commits: Commits, port: int = 0) -> Line:
        line = Line(self._loop, target, commits)
        self._run(line.listen(port)).result(10)
        self._lines.append(line)
        return line

    def close(self) -> None:
        for line in self._lines:
            self._run(line.close()).result(10)
        time.sleep(0.05)
        self._run(self._cancel()).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _cancel(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)
