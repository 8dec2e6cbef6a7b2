"""Keeps notes of what this process handles in the database (shared/ops/tables/attempts.py)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import TypeVar
from uuid import UUID

import psycopg
import structlog

from shared.broker.contract import TopicPartition
from shared.database.connection import DbConnection, first_line, limited_connection
from shared.errors import TransientError
from shared.ops.tables import attempts as attempts_table

# A database that does not answer must not delay each batch: notes are only needed if this process is killed.
ANSWER_S = 2.0
PAUSE_S = 10.0

T = TypeVar("T")
log = structlog.get_logger(__name__)


class AttemptNotes:
    """Used by the loop's thread. While the database is unavailable nothing is noted, and the loop continues."""

    def __init__(self, conninfo: str, service: str, incarnation: UUID, answer_s: float = ANSWER_S) -> None:
        self._identity = (service, incarnation)
        self._link = limited_connection(conninfo, f"{service} attempts", answer_s)
        self._pause_until_s = 0.0

    def take(self, offsets: Mapping[TopicPartition, int]) -> Mapping[TopicPartition, int] | None:
        """How many processes in a row were killed at these next offsets; None if that cannot be read now."""
        return self._try(lambda connection: attempts_table.take(connection, *self._identity, offsets))

    def note(self, offsets: Mapping[TopicPartition, int | None]) -> None:
        self._try(lambda connection: attempts_table.note(connection, *self._identity, offsets))

    def clear(self, tps: Collection[TopicPartition]) -> None:
        self._try(lambda connection: attempts_table.clear(connection, *self._identity, tps))

    def release(self, tps: Collection[TopicPartition]) -> None:
        self._try(lambda connection: attempts_table.release(connection, *self._identity, tps))

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._link.drop()

    def _try(self, work: Callable[[DbConnection], T]) -> T | None:
        if time.monotonic() < self._pause_until_s:
            return None
        try:
            with self._link.use() as connection, connection.transaction():
                return work(connection)
        except (TransientError, psycopg.Error) as error:
            self._pause_until_s = time.monotonic() + PAUSE_S
            log.warning("attempt_not_noted", cause=first_line(error))
            return None
