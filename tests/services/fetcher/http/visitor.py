"""A process that fetches from a hostile server, several times at once, and measures itself.

    python -m tests.services.fetcher.http.visitor FOLDER

Reads lines of JSON (`url`, `http`) from its input, and answers each with one line: a Visit.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from services.fetcher.archive.rejected import RejectedResponses
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch_window import FetchOutcome, FetchWindow
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.cursor import WindowCursor, decode, encode
from services.fetcher.planning.windows import DueWindow, Window
from shared.retry import Retry
from tests.services.fetcher.synthetic_documents import DAY, SettableClock, made_source
from tests.waiting import wait_until

PARALLEL = 4
DUE = DueWindow(Window("cards", DAY), historical=True)


class Visit(NamedTuple):
    """The outcomes of PARALLEL fetches of one window, and the process after them.

    `threads` are those of requests: an archive keeps a fixed number of threads.
    """

    states: list[str]
    causes: list[str]
    records: int
    seconds: float
    peak_rss_mb: float
    descriptors: int
    threads: int


def visit(folder: Path, url: str, http: dict[str, Any]) -> Visit:
    source = made_source(url, http=http)
    documents = HttpSource(source, SettableClock())
    archive = DocumentArchive(folder)
    fetch = FetchWindow(source, documents, archive, Retry(tries=1), RejectedResponses(folder), SettableClock())
    started_s = time.monotonic()
    with ThreadPoolExecutor(PARALLEL) as pool:
        outcomes: list[FetchOutcome] = list(pool.map(lambda _: fetch(DUE, WindowCursor()), range(PARALLEL)))
    seconds = time.monotonic() - started_s
    documents.close()
    archive.sync()
    cursors = [decode(encode(outcome.cursor)) for outcome in outcomes]
    # The thread of a lookup ends shortly after its result is used.
    wait_until(lambda: not any(thread.name.startswith("resolve") for thread in threading.enumerate()))
    return Visit(
        states=[cursor.state for cursor in cursors],
        causes=[cursor.error or "" for cursor in cursors],
        records=sum(len(outcome.records) for outcome in outcomes),
        seconds=seconds,
        peak_rss_mb=_peak_rss_mb(),
        descriptors=len(os.listdir("/proc/self/fd")),
        threads=sum(not thread.name.startswith("sync") for thread in threading.enumerate()),
    )


def _peak_rss_mb() -> float:
    """Since the start of this program; getrusage would count the process that started it too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def main() -> None:
    folder = Path(sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(visit(folder, **json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
