"""TCP proxies between services and their servers that can cut, delay and block connections. All run in one thread."""

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
    """Whether the data begins with an EndTxn request (API key 26), after four bytes of length."""
    return data[4:6] == b"\x00\x1a"


class FaultyProxy:
    """A proxy of one server. It works in the loop's thread; its public methods may be called from any other thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: Target, commits: Commits) -> None:
        self.port = 0
        self.replies_lost = 0
        self._loop = loop
        self._target = target
        self._commits = commits
        self._delay_s = 0.0
        self._open = asyncio.Event()
        self._open.set()
        self._lose_next_reply = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break all connections; new ones are accepted."""
        self._call(self._cut)

    def slow_down(self, delay_s: float) -> None:
        """Delay each piece of data; 0 ends the delay."""
        self._call(lambda: setattr(self, "_delay_s", delay_s))

    def block(self) -> None:
        """Accept data and pass nothing on, until `unblock`."""
        self._call(self._open.clear)

    def unblock(self, *, cut: bool) -> None:
        """Pass on the data that waits, or break the connections."""
        if cut:
            self.cut()
        self._call(self._open.set)

    def lose_reply(self) -> None:
        """The next commit reaches the server, and the connection breaks before its reply."""
        self._call(lambda: setattr(self, "_lose_next_reply", True))

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._open.set()
        self._cut()

    def _call(self, change: Callable[[], object]) -> None:
        """Wait until the loop has made the change, because recovery is measured from then on."""
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
        pair = {writer, server}
        self._writers |= pair
        reply_lost = asyncio.Event()
        with suppress(OSError):
            await asyncio.gather(
                self._pass(reader, server, reply_lost, True), self._pass(server_reader, writer, reply_lost, False)
            )
        self._writers -= pair
        for each in pair:
            each.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply_lost: asyncio.Event, to_server: bool
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            if self._delay_s:
                await asyncio.sleep(self._delay_s)
            await self._open.wait()
            if to_server and self._lose_next_reply and self._commits(data):
                self._lose_next_reply = False
                reply_lost.set()
            if not to_server and reply_lost.is_set():
                self.replies_lost += 1
                break
            writer.write(data)
            await writer.drain()
        writer.close()


class FaultyProxies:
    """The thread in which all proxies run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._proxies: list[FaultyProxy] = []
        self._thread.start()

    def open(self, target: Target, commits: Commits, port: int = 0) -> FaultyProxy:
        proxy = FaultyProxy(self._loop, target, commits)
        self._run(proxy.listen(port)).result(10)
        self._proxies.append(proxy)
        return proxy

    def close(self) -> None:
        for proxy in self._proxies:
            self._run(proxy.close()).result(10)
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
