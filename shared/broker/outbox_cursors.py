"""Encodes the relay's cursors in Kafka: for each outbox and partition, how far it is relayed.

The key names the outbox, so that another database starts at its own begin. The value is the offset and the fingerprint
of the last relayed batch (postgres/outbox.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID


class OutboxIdentity(NamedTuple):
    """`id`: made with the database. `has_old_cursors`: the database was used before cursors had an identity."""

    id: UUID
    has_old_cursors: bool


class OutboxPosition(NamedTuple):
    """The offset after the last relayed record, and the fingerprint of its batch; empty if it is not known."""

    offset: int
    fingerprint: str = ""


def cursor_key(identity: OutboxIdentity, topic: str, partition: int) -> str:
    return f"{identity.id}/{topic}/{partition}"


def encode_cursor(position: OutboxPosition) -> bytes:
    return f"{position.offset} {position.fingerprint}".encode()


def cursor_of(
    cursors: Mapping[str, bytes], identity: OutboxIdentity, topic: str, partition: int
) -> OutboxPosition | None:
    """How far this outbox is relayed according to Kafka; None if nothing of it was."""
    value = cursors.get(cursor_key(identity, topic, partition))
    if value is None and identity.has_old_cursors:
        value = cursors.get(f"{topic}/{partition}")
    if value is None:
        return None
    offset, _, fingerprint = value.decode().partition(" ")
    return OutboxPosition(int(offset), fingerprint)


class OutboxState(NamedTuple):
    """The outbox of one partition: its records are those from `begin` to before `end`; `relayed` is the last position
    that the database knows to be in Kafka."""

    begin: int
    end: int
    relayed: OutboxPosition | None


class OutboxStart(NamedTuple):
    """Where a relay starts. `foreign`: the cursor is one of another state of the outbox, so that everything that the
    database holds is relayed. `lost`: records that are neither in the database nor in Kafka any more."""

    offset: int
    foreign: bool = False
    lost: int = 0


def start_of(state: OutboxState, cursor: OutboxPosition | None, fingerprint: str | None) -> OutboxStart:
    """`fingerprint`: of the batch that ends at the cursor, None if the database does not hold it."""
    if cursor is None:
        return OutboxStart(state.begin)
    if cursor.fingerprint:
        is_own = cursor in (state.relayed, OutboxPosition(cursor.offset, fingerprint or ""))
    else:
        is_own = state.relayed is None and state.begin <= cursor.offset <= state.end  # a cursor of an older version
    if is_own:
        return OutboxStart(max(cursor.offset, state.begin))
    if cursor.offset < state.begin:
        return OutboxStart(state.begin, lost=state.begin - cursor.offset)
    return OutboxStart(state.begin, foreign=True)
