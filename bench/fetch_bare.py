"""A thread pool that downloads documents and stores them, without conditional requests, limits or guarantees.

It is the baseline of `make bench-fetch`. Reads JSON from standard input: the URLs, the number of threads, the folder
for the documents and, for the durable pool, how to connect to a database. Prints seconds and CPU seconds.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import zstandard

# Documents in a transaction of the durable pool, as in a unit of the fetcher.
UNIT_DOCUMENTS = 13
TABLE = "CREATE TABLE bench_documents (body bytea)"

Store = Callable[[int, bytes], None]
"""Stores the body of the document with this number."""


def download(urls: list[str], threads: int, store: Store) -> None:
    limits = httpx2.Limits(max_connections=threads, max_keepalive_connections=threads)
    with (
        httpx2.Client(limits=limits, headers={"Accept-Encoding": "gzip"}) as client,
        ThreadPoolExecutor(threads) as pool,
    ):

        def fetch(number: int) -> None:
            response = client.get(urls[number])
            response.raise_for_status()
            store(number, response.content)

        for future in [pool.submit(fetch, number) for number in range(len(urls))]:
            future.result()


def file_store(folder: Path) -> Store:
    """Each document, unpacked, in a file."""

    def store(number: int, body: bytes) -> None:
        (folder / f"{number}.json").write_bytes(body)

    return store


class DurableStore:
    """A durable copy of each document, whatever is in it: compressed in a file under its hash, synced, and the same
    compressed bytes in a table, some documents in one transaction. Nothing is split, checked or looked up.

    Files are written and synced in the calling threads, transactions are made in a thread of their own.
    """

    def __init__(self, folder: Path, connection: psycopg.Connection[Any]) -> None:
        self._folder = folder
        self._connection = connection
        self._lock = threading.Lock()
        self._thread = threading.local()
        self._pending: list[bytes] = []
        self._commits: list[Future[None]] = []
        self._committer = ThreadPoolExecutor(1)

    def __call__(self, _: int, body: bytes) -> None:
        if (compressor := getattr(self._thread, "compressor", None)) is None:
            compressor = self._thread.compressor = zstandard.ZstdCompressor(level=1)
        packed = compressor.compress(body)
        with (self._folder / hashlib.sha256(body).hexdigest()).open("wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
        with self._lock:
            self._pending.append(packed)
            if len(self._pending) >= UNIT_DOCUMENTS:
                self._start_commit()

    def finish(self) -> None:
        """Wait until all documents are durable."""
        self._start_commit()
        for commit in self._commits:
            commit.result()
        self._committer.shutdown()

    def _start_commit(self) -> None:
        documents, self._pending = self._pending, []
        self._commits.append(self._committer.submit(self._commit, documents))

    def _commit(self, documents: list[bytes]) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with (
            self._connection.transaction(),
            self._connection.cursor() as cursor,
            cursor.copy("COPY bench_documents (body) FROM STDIN (FORMAT binary)") as copy,
        ):
            copy.set_types(["bytea"])
            for packed in documents:
                copy.write_row((packed,))


def main() -> None:
    task = json.load(sys.stdin)
    folder, urls, threads = Path(task["folder"]), task["urls"], task["threads"]
    if task["conninfo"] is None:
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        download(urls, threads, file_store(folder))
    else:
        with psycopg.connect(task["conninfo"], autocommit=True) as connection:
            store = DurableStore(folder, connection)
            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            download(urls, threads, store)
            store.finish()
    print(json.dumps({"wall_s": time.perf_counter() - began_s, "cpu_s": time.process_time() - began_cpu_s}))


if __name__ == "__main__":
    main()
