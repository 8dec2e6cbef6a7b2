"""Names backups by their time, and removes old ones."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headrace.backup.manifest import MANIFEST

_TIME = "%Y%m%dT%H%M%SZ"
_NAME = re.compile(r"headrace-\d{8}T\d{6}Z")
_UNFINISHED = re.compile(r"\.headrace-(\d{8}T\d{6}Z)\.unfinished-.*")
# Longer than any backup takes.
_ABANDONED = timedelta(days=1)


def backup_name() -> str:
    """A name for a new backup, such as headrace-20260131T030000Z; names sort by time."""
    return f"headrace-{datetime.now(UTC):{_TIME}}"


def remove_old_backups(folder: Path, keep: int) -> list[Path]:
    """Remove all but the newest complete backups, and what backups left that were killed more than a day ago; returns
    the backups that were removed. Raises OSError."""
    complete = sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name) and (path / MANIFEST).is_file())
    old = complete[:-keep]
    for path in old:
        (path / MANIFEST).unlink()  # from here on it is not a backup any more, even if this process is killed
        shutil.rmtree(path)
    for path in folder.iterdir():
        if (match := _UNFINISHED.fullmatch(path.name)) and _age_of(match[1]) > _ABANDONED:
            shutil.rmtree(path)
    return old


def _age_of(time: str) -> timedelta:
    return datetime.now(UTC) - datetime.strptime(time, _TIME).replace(tzinfo=UTC)
