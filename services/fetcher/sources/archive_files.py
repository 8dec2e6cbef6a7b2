"""Finds the existing files of a recorded archive. Symbolic links are followed.

A layout is a format string, so names are not parsed: the path of each possible day is looked up. Only the folders that
the layout names are listed, each once, so a link to a parent folder cannot cause an endless walk.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path, PurePosixPath

from shared.errors import ConfigError

FIRST_YEAR = 2000


def recorded_files(folder: Path, layout: str, feed: str, last_year: int) -> dict[date, str]:
    """The paths below `folder` of the feed's files by day, in order.

    Raises ConfigError if a folder of the layout cannot be listed, because its days are then unknown.
    """
    first, last = date(FIRST_YEAR, 1, 1).toordinal(), date(last_year, 12, 31).toordinal()
    names: dict[str, frozenset[str]] = {}
    paths = {}
    for day in map(date.fromordinal, range(first, last + 1)):
        path = layout.format(feed=feed, date=day)
        parent, _, name = path.rpartition("/")
        if parent not in names:
            names[parent] = _names(folder, parent)
        if name in names[parent]:
            paths[day] = path
    return paths


def broken_link(folder: Path, path: str) -> str | None:
    """A description of the first broken symbolic link on the way from `folder` to `path`; None if there is none.

    Links that form a circle count as broken.
    """
    path_parts = [folder, *(folder / parent for parent in reversed(PurePosixPath(path).parents)), folder / path]
    for part in path_parts:
        if part.is_symlink() and not part.exists():
            return f"{part} is a broken symbolic link (to {part.readlink()})"
    return None


def _names(folder: Path, path: str) -> frozenset[str]:
    try:
        return frozenset(each.name for each in (folder / path).iterdir())
    except OSError as error:
        if link := broken_link(folder, path):
            raise ConfigError(f"{link}: restore its target or remove the link") from error
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return frozenset()
        raise ConfigError(f"cannot list {folder / path}: {error.strerror}") from error
