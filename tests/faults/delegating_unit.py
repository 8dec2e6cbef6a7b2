"""A unit that delegates to another one; subclasses override what differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self, cast

from shared.broker.contract import DatabaseUnit, NewRecord, Ownership, TopicPartition, Unit
from shared.database.connection import DbConnection


class DelegatingUnit:
    def __init__(self, inner: Unit) -> None:
        self._inner = inner

    @property
    def connection(self) -> DbConnection:
        return cast("DatabaseUnit", self._inner).connection

    def append(self, records: Sequence[NewRecord]) -> None:
        self._inner.append(records)

    def advance(self, token: Ownership, offsets: Mapping[TopicPartition, int], ctl_seq: int | None = None) -> None:
        self._inner.advance(token, offsets, ctl_seq)

    def cursor_set(self, topic: str, key: str, value: bytes) -> None:
        self._inner.cursor_set(topic, key, value)

    def commit(self) -> None:
        self._inner.commit()

    def abort(self) -> None:
        self._inner.abort()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        self._inner.__exit__(*raised)
