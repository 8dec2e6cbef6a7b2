"""Leadership of the bot: an advisory lock, held by one notifier at a time.

The lock ends with its database session, so a killed leader is replaced at once. A leader whose session is lost notices
it at the next check and stops.
"""

from __future__ import annotations

from shared.database.connection import ReconnectingConnection

# Any constant that no other lock of the database has: "hrbot" in ASCII.
LOCK = 0x6872626F74
POLL_S = 0.5


class Leadership:
    """The advisory lock in one database session. Used by one thread at a time."""

    def __init__(self, link: ReconnectingConnection) -> None:
        self._link = link
        self._backend = 0

    def is_held(self) -> bool:
        """Whether the session that took the lock still exists. Raises psycopg.OperationalError or TransientError."""
        with self._link.use() as connection:
            connection.execute("SELECT 1")
            return connection.info.backend_pid == self._backend

    def try_take(self) -> bool:
        with self._link.use() as connection:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
            self._backend = connection.info.backend_pid
            return bool(row and row[0])

    def release(self) -> None:
        self._backend = 0
        self._link.drop()
