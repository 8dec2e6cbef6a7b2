"""Tells trouble of the process and its machine from the fault of a record: trouble fails the unit, which is retried."""

from __future__ import annotations

import errno

import psycopg

from shared.database.connection import unavailable
from shared.database.sqlstates import is_timeout, is_trouble
from shared.errors import TransientError

# A full, read-only or failing disk, too many open files, no memory.
_TROUBLE = frozenset([errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM])


def trouble_of(error: Exception) -> TransientError | None:
    """The error to raise instead if no record is the cause of `error`; None if one may be."""
    if isinstance(error, psycopg.Error):
        return unavailable(error) if is_trouble(error) else None
    if isinstance(error, MemoryError):
        return TransientError("the process is out of memory")
    if isinstance(error, OSError) and error.errno in _TROUBLE:
        return TransientError(f"the system is in trouble: {error}")
    return None


def needs_smaller_batch(error: BaseException) -> bool:
    """Whether the unit may succeed with fewer records: it took too long, or too much memory."""
    return is_timeout(error) or isinstance(error.__cause__, MemoryError)
