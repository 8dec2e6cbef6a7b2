"""A bare thread pool that downloads documents and stores them, without conditional requests, limits or guarantees.

It is the baseline of `make bench-fetch`. Reads the URLs from standard input and prints seconds and CPU seconds.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2


def download(urls: list[str], folder: Path, threads: int) -> None:
    """Write each document, unpacked, to a file in `folder`."""
    limits = httpx2.Limits(max_connections=threads, max_keepalive_connections=threads)
    with (
        httpx2.Client(limits=limits, headers={"Accept-Encoding": "gzip"}) as client,
        ThreadPoolExecutor(threads) as pool,
    ):

        def store(number: int) -> None:
            response = client.get(urls[number])
            response.raise_for_status()
            (folder / f"{number}.json").write_bytes(response.content)

        for future in [pool.submit(store, number) for number in range(len(urls))]:
            future.result()


if __name__ == "__main__":
    paths = sys.stdin.read().split()
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    download(paths, Path(sys.argv[1]), int(sys.argv[2]))
    print(json.dumps({"wall_s": time.perf_counter() - began_s, "cpu_s": time.process_time() - began_cpu_s}))
