"""Messages that come again, whenever and among whatever: nothing is told a second time, whatever its state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.notifier import postgres_ledger as ledger
from services.notifier.notify import Notifier
from services.notifier.rules import Rules
from shared.records import DecodedRecord
from tests.services.notifier.conftest import Compose
from tests.services.notifier.samples import HOUR, NOW, FixedClock, Rows, key, loaded, prediction, received

Connection = psycopg.Connection[Any]


class Ghost(NamedTuple):
    """A message that comes again: which, and before which one it does."""

    of: int
    before: int


# What is told: a tip and another favourite; a big payout, then a corrected one; a session called off; the day.
STEPS: list[tuple[DecodedRecord, str]] = [
    (received(prediction(0.9, 0.1, event_key=key(2))), ""),
    (received(prediction(0.1, 0.9, event_key=key(2))), ""),
    (received(loaded(1)), ""),
    (received(loaded(1, version=2)), "UPDATE facts.transactions SET amount = 70000 WHERE amount = 60000"),
    (received(loaded(3, status="cancelled")), "UPDATE facts.events SET status = 'cancelled' WHERE number = 3"),
    (received(loaded(2, status="void")), "UPDATE facts.events SET status = 'void' WHERE number = 2"),
    (received(loaded(2, status="void", version=2)), ""),
]
COUNT = len(STEPS)
cuts = st.sets(st.integers(1, COUNT - 1))
ghosts = st.lists(
    st.builds(Ghost, st.integers(0, COUNT - 1), st.integers(1, COUNT)).filter(lambda ghost: ghost.of < ghost.before),
    min_size=1,
    max_size=10,
)


def tell(database: Connection, compose: Compose, cuts: set[int], haunting: Sequence[Ghost]) -> list[tuple[Any, ...]]:
    """Every batch comes when the rows behind it are there, and is told before the next; the ledger in the end."""
    database.execute("TRUNCATE notifier.ledger, facts.sources CASCADE")
    rows = Rows(database)
    session = rows.session()
    rows.event(session, 1, trifecta=60_000)
    rows.event(session, 2, "observed", at=NOW + HOUR)
    rows.event(session, 3, "listed")
    notifier = Notifier(["console", "discord"], FixedClock(), Rules())
    ends = [*sorted(cuts), COUNT, COUNT + 1]
    for begin, end in zip([0, *ends], ends, strict=False):
        batch = []
        for index in range(begin, end):
            batch += [STEPS[ghost.of][0] for ghost in haunting if ghost.before == index]
            batch += [STEPS[index][0]] if index < COUNT else []
        for _, change in STEPS[begin:end]:
            if change:
                database.execute(change.encode())
        with database.transaction():
            assert notifier.handle(batch, database) == []
        compose()
        for channel in ("console", "discord"):
            while claimed := ledger.claim(database, channel):
                ledger.mark_sent(database, claimed)
    return database.execute(
        "SELECT record_id, rule, channel, event_key, text, state, attempts FROM notifier.ledger ORDER BY 1, 2, 3"
    ).fetchall()


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts, ghosts)
def test_ghosts_are_not_told(database: Connection, compose: Compose, cuts: set[int], haunting: list[Ghost]) -> None:
    expected = tell(database, compose, cuts, [])

    assert tell(database, compose, cuts, haunting) == expected


def test_each_is_told_once_where_every_message_comes_twice(database: Connection, compose: Compose) -> None:
    every = set(range(1, COUNT))
    told = tell(database, compose, every, [Ghost(index, index + 1) for index in range(COUNT)])

    assert sorted((rule, state, attempts) for _, rule, _, _, _, state, attempts in told) == sorted(
        (rule, "sent", 1)
        for rule in ("tip", "tip", "big-payout", "big-payout", "called-off", "daily")
        for _ in ("console", "discord")
    )
