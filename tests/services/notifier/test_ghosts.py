"""A message that is delivered again, at any later place, causes no second notification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.notifier.notify import Notifier
from services.notifier.storage import postgres_claims as claims
from shared.records import DecodedRecord
from tests.services.notifier.books import default_book
from tests.services.notifier.conftest import Compose
from tests.services.notifier.samples import HOUR, NOW, FixedClock, Rows, decoded_record, key, loaded_event, prediction

Connection = psycopg.Connection[Any]


class Ghost(NamedTuple):
    """Message number `of` is delivered again before message number `before`."""

    of: int
    before: int


# They cause notifications of: a tip, another favourite, a big payout, its correction, a cancelled session, the day.
STEPS: list[tuple[DecodedRecord, str]] = [
    (decoded_record(prediction(0.9, 0.1, event_key=key(2))), ""),
    (decoded_record(prediction(0.1, 0.9, event_key=key(2))), ""),
    (decoded_record(loaded_event(1)), ""),
    (decoded_record(loaded_event(1, version=2)), "UPDATE facts.transactions SET amount = 70000 WHERE amount = 60000"),
    (
        decoded_record(loaded_event(3, status="cancelled")),
        "UPDATE facts.events SET status = 'cancelled' WHERE number = 3",
    ),
    (decoded_record(loaded_event(2, status="void")), "UPDATE facts.events SET status = 'void' WHERE number = 2"),
    (decoded_record(loaded_event(2, status="void", version=2)), ""),
]
COUNT = len(STEPS)
cuts = st.sets(st.integers(1, COUNT - 1))
ghost_lists = st.lists(
    st.builds(Ghost, st.integers(0, COUNT - 1), st.integers(1, COUNT)).filter(lambda ghost: ghost.of < ghost.before),
    min_size=1,
    max_size=10,
)


def run(database: Connection, compose: Compose, cuts: set[int], ghosts: Sequence[Ghost]) -> list[tuple[Any, ...]]:
    """Handles the steps in batches, sends the notifications of each batch before the next, and returns the ledger."""
    database.execute("TRUNCATE notifier.ledger, facts.sources CASCADE")
    rows = Rows(database)
    session = rows.session()
    rows.event(session, 1, trifecta=60_000)
    rows.event(session, 2, "observed", at=NOW + HOUR)
    rows.event(session, 3, "listed")
    notifier = Notifier(["console", "discord"], FixedClock(), default_book)
    ends = [*sorted(cuts), COUNT, COUNT + 1]
    for begin, end in zip([0, *ends], ends, strict=False):
        batch = []
        for index in range(begin, end):
            batch += [STEPS[ghost.of][0] for ghost in ghosts if ghost.before == index]
            batch += [STEPS[index][0]] if index < COUNT else []
        for _, change in STEPS[begin:end]:
            if change:
                database.execute(change.encode())
        with database.transaction():
            assert notifier.handle(batch, database) == []
        compose()
        for channel in ("console", "discord"):
            while claimed := claims.claim(database, channel):
                claims.mark_sent(database, claimed)
    return database.execute(
        "SELECT record_id, rule, channel, event_key, text, state, attempts FROM notifier.ledger ORDER BY 1, 2, 3"
    ).fetchall()


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts, ghost_lists)
def test_messages_that_are_delivered_again_are_not_notified_again(
    database: Connection, compose: Compose, cuts: set[int], ghosts: list[Ghost]
) -> None:
    expected = run(database, compose, cuts, [])

    assert run(database, compose, cuts, ghosts) == expected


def test_each_notification_is_sent_once_if_every_message_is_delivered_twice(
    database: Connection, compose: Compose
) -> None:
    all_cuts = set(range(1, COUNT))
    ledger_rows = run(database, compose, all_cuts, [Ghost(index, index + 1) for index in range(COUNT)])

    assert sorted((rule, state, attempts) for _, rule, _, _, _, state, attempts in ledger_rows) == sorted(
        (rule, "sent", 1)
        for rule in ("tip", "tip", "big-payout", "big-payout", "called-off", "daily")
        for _ in ("console", "discord")
    )
