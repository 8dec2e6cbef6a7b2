"""Names backups by their time, and removes old ones."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

from headrace.backup.manifest import MANIFEST

_NAME = re.compile(r"headrace-\d{8}T\d{6}Z")


def backup_name() -> str:
    """A name for a new backup, such as headrace-20260131T030000Z; names sort by time."""
    return f"headrace-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def remove_old_backups(folder: Path, keep: int) -> list[Path]:
    """Remove all but the newest complete backups; returns those that were removed. Raises OSError."""
    complete = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and (path / MANIFEST).is_file())
    old = complete[:-keep]
    for path in old:
        (path / MANIFEST).unlink()  # from here on it is not a backup any more, even if this process is killed
        shutil.rmtree(path)
    return old
