"""Time travel, as a user does it: from the archive that a run has kept, into a data directory of its own."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from tests.headrace.runs import DAYS, run_once, write_archive

# Between two races of the first day, where the source is.
NOON = datetime.combine(DAYS[0], time(12), ZoneInfo("Asia/Tokyo"))


def headrace(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace", *words], capture_output=True, text=True, timeout=120, check=False
    )


def ask(query: str, data_dir: Path) -> list[dict[str, Any]]:
    settled = f"SELECT event_key FROM events WHERE status = 'settled' AND known_at <= '{NOON}' ORDER BY 1"
    assert ask(settled, then) == ask(settled, whole) != []
    assert ask(f"SELECT max(known_at) <= '{NOON}' AS ok FROM events", then) == [{"ok": True}]
    books = headrace("audit", "--no-archive", "--output", "json", "--data-dir", str(then))
    assert books.returncode == 0, books.stdout + books.stderr
    assert orjson.loads(books.stdout)["counts"]["filtered"] > 0
    again = headrace(
        "run", "--source", "archive", "--archive", str(whole / "archive"), "--once", "--data-dir", str(then)
    )
    assert (again.returncode, "of its own" in again.stderr) == (2, True)
