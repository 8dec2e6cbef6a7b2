"""Tells trouble of the process and its machine from the fault of a record: trouble fails the unit, which is retried."""

from __future__ import annotations

import errno

import psycopg

from shared.database.connection import first_line
from shared.database.sqlstates import is_timeout, is_trouble
from shared.errors import TransientError

# A full, read-only or failing disk, too many open files or processes, no memory.
_EXHAUSTED = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
})  # fmt: skip


def raise_trouble(error: Exception, place: str) -> None:
    """Raises TransientError if no record can be the cause of `error`. `place`: of the first record."""
    if isinstance(error, psycopg.Error) and is_trouble(error):
        raise TransientError(f"the database is unavailable: {first_line(error)}") from error
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _EXHAUSTED):
        raise TransientError(f"out of resources at {place}: {type(error).__name__}: {error}") from error


def needs_smaller_batch(error: BaseException) -> bool:
    """Whether the unit may succeed with fewer records: it took too long, or too much memory."""
    return is_timeout(error) or isinstance(error.__cause__, MemoryError)
