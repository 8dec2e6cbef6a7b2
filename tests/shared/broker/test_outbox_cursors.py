"""Which cursor of the relay counts, and where the relay starts."""

from __future__ import annotations

from uuid import UUID

import pytest

from shared.broker.outbox_cursors import (
    OutboxIdentity,
    OutboxPosition,
    OutboxStart,
    OutboxState,
    cursor_key,
    cursor_of,
    encode_cursor,
    start_of,
)

OWN, OTHER = OutboxIdentity(UUID(int=1), False), OutboxIdentity(UUID(int=2), False)


def test_a_cursor_counts_only_for_its_own_database() -> None:
    cursors = {cursor_key(OWN, "loaded-events", 2): encode_cursor(OutboxPosition(7, "a")), "loaded-events/2": b"9"}

    assert cursor_of(cursors, OWN, "loaded-events", 2) == OutboxPosition(7, "a")
    assert cursor_of(cursors, OTHER, "loaded-events", 2) is None
    assert cursor_of(cursors, OTHER._replace(has_old_cursors=True), "loaded-events", 2) == OutboxPosition(9)


@pytest.mark.parametrize(
    ("state", "cursor", "fingerprint", "start"),
    [
        (OutboxState(0, 9, None), None, None, OutboxStart(0)),
        # The usual restart: the database knows the cursor and has deleted the batch.
        (OutboxState(7, 9, OutboxPosition(7, "a")), OutboxPosition(7, "a"), None, OutboxStart(7)),
        # The relay died before it told the database.
        (OutboxState(0, 9, None), OutboxPosition(7, "a"), "a", OutboxStart(7)),
        # The database went back, and may have grown past the cursor since.
        (OutboxState(3, 5, OutboxPosition(3, "b")), OutboxPosition(7, "a"), None, OutboxStart(3, foreign=True)),
        (OutboxState(3, 90, OutboxPosition(3, "b")), OutboxPosition(7, "a"), "c", OutboxStart(3, foreign=True)),
        # Kafka went back: what the database has deleted is gone.
        (OutboxState(9, 9, OutboxPosition(9, "b")), OutboxPosition(7, "a"), None, OutboxStart(9, lost=2)),
        # A cursor of an older version has no fingerprint.
        (OutboxState(0, 9, None), OutboxPosition(7), "a", OutboxStart(7)),
        (OutboxState(0, 5, None), OutboxPosition(7), None, OutboxStart(0, foreign=True)),
    ],
)
def test_where_the_relay_starts(
    state: OutboxState, cursor: OutboxPosition | None, fingerprint: str | None, start: OutboxStart
) -> None:
    assert start_of(state, cursor, fingerprint) == start
