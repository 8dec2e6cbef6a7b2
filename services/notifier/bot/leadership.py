"""Leadership of the bot: an advisory lock, held by one notifier at a time.

The lock ends with its database session, so a killed leader is replaced at once. The server ends the session of a leader
that does not check it for IDLE_S, for example because its process is stopped. While the database is away, no other
replica can take the lock.
"""

from __future__ import annotations

from shared.database.connection import ReconnectingConnection

# Any constant that no other lock of the database has: "hrbot" in ASCII.
LOCK = 0x6872626F74
POLL_S = 0.5
IDLE_S = 10.0


class Leadership:
    """The advisory lock in one database session. Used by one thread at a time. The server ends a session that does not
    check the lock for `idle_s`."""

    def __init__(self, link: ReconnectingConnection, idle_s: float = IDLE_S) -> None:
        self._link = link
        self._idle_s = idle_s
        self._backend = 0

    def keep(self) -> bool:
        """Check the session that took the lock. If it was lost, try to take the lock again; returns whether it is held.

        Raises TransientError if the database does not answer.
        """
        with self._link.use() as connection:
            connection.execute("SELECT 1")
            if connection.info.backend_pid == self._backend:
                return True
        return self.try_take()

    def try_take(self) -> bool:
        """Raises TransientError if the database does not answer."""
        with self._link.use() as connection:
            connection.execute(
                "SELECT set_config('idle_session_timeout', %s, false)", (f"{self._idle_s * 1000:.0f}ms",)
            )
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone()
            self._backend = connection.info.backend_pid
            return bool(row and row[0])

    def release(self) -> None:
        self._backend = 0
        self._link.drop()
