"""Time travel, as a user does it: from the archive that a run has kept, into a data directory of its own."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest

from tests.headrace.runs import DAYS, run_once, write_archive

pytestmark = pytest.mark.long
# Between two races of the first day, where the source is.
NOON = datetime.combine(DAYS[0], time(12), ZoneInfo("Asia/Tokyo"))


def headrace(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "headrace", *words], capture_output=True, text=True, timeout=600, check=False
    )


def ask(query: str, data_dir: Path) -> list[dict[str, Any]]:
    done = headrace("sql", query, "--json", "--data-dir", str(data_dir))
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = orjson.loads(done.stdout)["rows"]
    return rows


def test_a_kept_archive_shows_what_was_known_then_and_the_books_close(tmp_path: Path) -> None:
    whole, then = tmp_path / "whole", tmp_path / "then"
    all_of_it = run_once(write_archive(tmp_path / "recorded"), whole)

    shown = run_once(whole / "archive", then, "--as-of", NOON.isoformat())

    assert 0 < shown["views"]["outcomes"] < all_of_it["views"]["outcomes"]
    settled = f"SELECT event_key FROM events WHERE status = 'settled' AND known_at <= '{NOON}' ORDER BY 1"
    assert ask(settled, then) == ask(settled, whole) != []
    assert ask(f"SELECT max(known_at) <= '{NOON}' AS ok FROM events", then) == [{"ok": True}]
    books = headrace("audit", "--no-archive", "--output", "json", "--data-dir", str(then))
    assert books.returncode == 0, books.stdout + books.stderr
    assert orjson.loads(books.stdout)["counts"]["filtered"] > 0
    more = headrace(
        "run", "--source", "archive", "--archive", str(whole / "archive"), "--once", "--data-dir", str(then)
    )
    assert (more.returncode, "of its own" in more.stderr) == (2, True)
