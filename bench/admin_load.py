"""Measures how much a flood on the admin API delays the work beside it: `python -m bench.admin_load`.

The server of the admin API runs in this process beside a loop that handles batches, as in a service: it decodes JSON,
writes and reads a socket, and waits for its next batch. Another process floods the server: 50 clients send 10,000
requests, and 240 connections stay half open. Reported: the time of handling a batch without and with the flood, the
answers by status, and the file descriptors before and after. On a machine that others use, repeat it.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import orjson

from services.cleaner.settings import CleanerSettings
from shared.runtime.api.context import AdminContext
from shared.runtime.api.server import admin_server
from shared.runtime.metrics import Metrics
from shared.settings.admin import AdminSettings
from shared.settings.sections import DatabaseSettings

CLIENTS, HALF_OPEN = 50, 240
QUIET_S = 20.0
PAUSE_S = 0.01
BATCH = orjson.dumps([{"key": f"event:{number}", "value": number / 3, "text": "x" * 200} for number in range(500)])
TOKEN = "b" * 40


class IdleService:
    def alive(self) -> bool:
        return True

    def ready(self) -> tuple[bool, str]:
        return True, ""

    def status(self) -> dict[str, object]:
        return {"service": "cleaner", "replica": "bench", "state": "running", "detail": {}}

    def lag(self, *, thorough: bool = False) -> list[dict[str, object]]:  # noqa: ARG002  # of the protocol
        return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--flood", metavar="URL", help="flood this server instead, and print the answers")
    options = parser.parse_args()
    if options.flood:
        print(orjson.dumps(flood(options.flood, options.requests)).decode())
    else:
        measure(options.requests)


def measure(requests: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        token_file = Path(directory, "token")
        token_file.touch(0o600)
        token_file.write_text(TOKEN)
        settings = CleanerSettings(
            database=DatabaseSettings(url="postgresql://nobody@127.0.0.1:1/nowhere"),
            admin=AdminSettings(token_file=token_file),
        )
        metrics = Metrics()
        context = AdminContext(settings, IdleService())
        before = descriptors()
        with admin_server(context, metrics.registry, metrics.count_request, metrics.count_response) as server:
            end_s = time.monotonic() + QUIET_S
            quiet = handle_batches(lambda: time.monotonic() < end_s)
            command = [sys.executable, "-m", "bench.admin_load", "--requests", str(requests), "--flood", server.url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                flooded = handle_batches(lambda: process.poll() is None)
                answers = "" if process.stdout is None else process.stdout.read()
        after = descriptors()
    print(f"batches: quiet {summary(quiet)}; flooded {summary(flooded)}; answers {answers.strip()}")
    print(f"p99 flooded / quiet: {percentile(flooded) / percentile(quiet):.2f}; descriptors: {before} -> {after}")


def handle_batches(goes_on: Callable[[], bool]) -> list[float]:
    """The seconds of each batch. A pair of sockets stands for the database."""
    seconds = []
    here, there = socket.socketpair()
    echo = threading.Thread(target=_echo, args=(there,), daemon=True)
    echo.start()
    with here:
        while goes_on():
            started_s = time.monotonic()
            for _ in range(3):
                here.sendall(orjson.dumps(orjson.loads(BATCH))[:1000])
                here.recv(1000)
            seconds.append(time.monotonic() - started_s)
            time.sleep(PAUSE_S)
    return seconds


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(1000):
            connection.sendall(data)


def flood(url: str, requests: int) -> dict[str, int]:
    """Sends the requests and returns the number of answers by status."""
    host, port = httpx2.URL(url).host, httpx2.URL(url).port or 80
    statuses: Counter[str] = Counter()
    ended = threading.Event()

    def hold() -> None:
        """Opens half a request again a second after the server has ended it."""
        while not ended.is_set():
            try:
                with socket.create_connection((host, port), 5) as connection:
                    connection.sendall(b"GET /v1/status HTTP/1.1\r\n")
                    connection.recv(1)
            except OSError:
                pass
            ended.wait(1.0)

    def send(count: int) -> None:
        with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60) as client:
            for _ in range(count):
                try:
                    statuses[str(client.get("/v1/status").status_code)] += 1
                except httpx2.TransportError as error:
                    statuses[type(error).__name__] += 1

    for _ in range(HALF_OPEN):
        threading.Thread(target=hold, daemon=True).start()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(send, [requests // CLIENTS] * CLIENTS))
    ended.set()
    return dict(statuses)


def percentile(seconds: list[float], share: float = 0.99) -> float:
    return sorted(seconds)[int(share * (len(seconds) - 1))]


def summary(seconds: list[float]) -> str:
    return f"{len(seconds)}, median {statistics.median(seconds) * 1000:.1f} ms, p99 {percentile(seconds) * 1000:.1f} ms"


if __name__ == "__main__":
    main()
