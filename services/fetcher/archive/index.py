"""Reads and rewrites the index of an archive of raw documents, `index.jsonl`.

The archive that is read may be another program's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from services.fetcher.archive.files import DiskFiles, locked
from services.fetcher.sources.documents import IndexLine
from shared.errors import ConfigError

INDEX = "index.jsonl"
# A line of the fetcher has some 300 bytes.
MAX_LINE_BYTES = 64 * 1024
HASH = re.compile(r"[0-9a-f]{64}")


class IndexText(NamedTuple):
    """A line of the index as it is stored; `line` is None if it is not one of an index. `text` of a line that is longer
    than MAX_LINE_BYTES has only its beginning."""

    number: int
    text: bytes
    line: IndexLine | None


def index_lines(index: Path) -> Iterator[IndexLine]:
    """The lines of an index, without unreadable ones. An index that does not exist has none.

    Raises ConfigError if the index cannot be read.
    """
    return (each.line for each in index_texts(index) if each.line is not None)


def index_texts(index: Path) -> Iterator[IndexText]:
    """All lines of an index that are not empty. Raises ConfigError as `index_lines` does."""
    try:
        if not index.exists():
            return
        with index.open("rb") as file:
            number = 0
            while text := file.readline(MAX_LINE_BYTES):
                number += 1
                is_whole = text.endswith(b"\n") or len(text) < MAX_LINE_BYTES
                while not is_whole:  # skip the rest, in memory of the same size
                    rest = file.readline(MAX_LINE_BYTES)
                    is_whole = rest.endswith(b"\n") or len(rest) < MAX_LINE_BYTES
                if text := text.rstrip(b"\n"):
                    yield IndexText(number, text, decode_line(text))
    except OSError as error:
        raise ConfigError(f"cannot read the archive index {index}: {error.strerror}") from error


def rewrite_index(index: Path, select: Callable[[], Callable[[IndexText], bool]], removed: Path) -> int:
    """Move the lines that are not kept to the end of the file `removed`. Returns their number.

    `select` returns which lines to keep. It is called when no other process can append any more; the others wait. A
    crash leaves the old index or the new one. Raises OSError.
    """
    partial, count = index.with_suffix(".partial"), 0
    removed.parent.mkdir(exist_ok=True)
    with locked(index), partial.open("wb") as kept_file, removed.open("ab") as removed_file:
        keep = select()
        for text in index_texts(index):
            if keep(text):
                kept_file.write(b"\n" + text.text)
            else:
                removed_file.write(b"\n" + text.text)
                count += 1
        for file in (removed_file, kept_file):
            file.flush()
            os.fsync(file.fileno())
        for folder in (removed.parent, removed.parent.parent):
            DiskFiles().sync(folder)
        partial.replace(index)
    DiskFiles().sync(index.parent)
    return count


def decode_line(text: bytes) -> IndexLine | None:
    """None for a text that is not a line of an index: a crash cut it off, or another program wrote it."""
    try:
        line = msgspec.json.decode(text, type=IndexLine)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    instants = [line.fetched_at, *([line.published_at] if line.published_at else [])]
    # A hash is part of a path, and instants without a time zone cannot be compared.
    is_valid = HASH.fullmatch(line.hash) and all(instant.tzinfo for instant in instants)
    return line if is_valid else None
