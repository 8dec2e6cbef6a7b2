"""Decides by SQLSTATE whether an error of the database passes by itself or is the fault of the statement's data.

*Trouble* passes: the caller waits and tries again, and loses nothing. Anything else is a *fault*: a retry fails again.
"""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

# Classes of which every state is trouble: connections (08), rolled back transactions (40), exhausted resources such as
# a full disk or too many connections (53), objects in use and lock time-outs (55), the server's operator and
# `statement_timeout` (57), the server's operating system (58), internal errors (XX).
TROUBLE_CLASSES = frozenset({"08", "40", "53", "55", "57", "58", "XX"})
# A read-only server (a failover, a full disk) and the server's limits for transactions. The rest of class 25 are bugs.
TROUBLE_STATES = frozenset({"25006", "25P03", "25P04"})
# FeatureNotSupported is a fault, except if a migration changed a table below a prepared statement: the text of the
# error, and the server's function that raises it, in case the server's messages are not in English.
_CACHED_PLAN = ("0A000", "cached plan must not change result type", "RevalidateCachedQuery")
# The limit for statements, waits for locks, idle transactions and transactions.
TIMEOUT_STATES = frozenset({"57014", "55P03", "25P03", "25P04"})


class AnswerTimeout(psycopg.OperationalError):
    """The client gave up: the server has not answered within the connection's limit."""


def is_trouble(error: psycopg.Error) -> bool:
    """Whether the error passes by itself. An error without a state is trouble if it concerns the connection."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    if state in TROUBLE_STATES or state[:2] in TROUBLE_CLASSES:
        return True
    return is_stale_plan(error)


def is_stale_plan(error: psycopg.Error) -> bool:
    """Whether a migration changed a table below a prepared statement. It must be prepared again."""
    state, text, function = _CACHED_PLAN
    return error.sqlstate == state and (text in str(error) or error.diag.source_function == function)


def is_timeout(error: BaseException) -> bool:
    """Whether the error, or one that caused it, is a time-out: with less work the same may succeed."""
    return any(
        isinstance(each, AnswerTimeout) or (isinstance(each, psycopg.Error) and each.sqlstate in TIMEOUT_STATES)
        for each in _chain(error)
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__
