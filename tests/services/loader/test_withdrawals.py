"""A replayed record that new rules leave out withdraws what the old ones made of it."""

from __future__ import annotations

from itertools import permutations
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.loader.load import Loader
from shared.broker.contract import Record
from shared.events import Conditions, FactKind, LoadedEvent, Withdrawal
from shared.records import DecodedRecord, decode, encode
from shared.runtime.metrics import Metrics
from shared.topics import CLEAN
from tests.services.loader.conftest import loaded_events_of
from tests.services.loader.facts import (
    SOURCE,
    StillClock,
    entry,
    key,
    listed,
    observed,
    outcomes,
    paid,
    received,
    settled,
)
from tests.services.loader.views import Tables, ask, tables

Connection = psycopg.Connection[Any]
REPLAY = "019a0000-0000-7000-8000-000000000001"
RANGES = ("listed_history", "observed_history", "settled_history", "outcome_history", "transaction_history")
LATER_REPLAY = "019a0000-0000-7000-8000-000000000002"


def withdrawal(record_id: UUID, fact: FactKind, number: int = 1, revision: str = REPLAY) -> DecodedRecord:
    message = Withdrawal(
        source=SOURCE, event_key=key(number), fact=fact, reason="nothing observed yet", document_hash="d" * 64
    )
    encoded = encode(message, CLEAN, "withdrawal/1", record_id, "cleaner", revision)
    return decode(Record(CLEAN, 0, 0, 0, encoded.key, encoded.value, encoded.headers))


def load(connection: Connection, *records: DecodedRecord) -> list[LoadedEvent]:
    """Each record in a batch of its own."""
    loader = Loader(StillClock(), Metrics())
    return [event for record in records for event in loaded_events_of(loader.handle([record], connection))]


def views(connection: Connection) -> Tables:
    """All views, without the number of versions, which counts withdrawals too, and without the ranges of knowledge:
    they begin with each version."""
    rows = tables(connection, without=("versions", "events", *RANGES))
    events = "SELECT (to_jsonb(e) - 'version')::text FROM analytics.events e ORDER BY event_key"
    return rows | {"events": [text for (text,) in connection.execute(events)]}


CARD, PREVIEW, RESULT, LATE_RESULT = UUID(int=1), UUID(int=2), UUID(int=3), UUID(int=4)
FACTS = {
    CARD: received(listed(), CARD),
    PREVIEW: received(observed(), PREVIEW),
    RESULT: received(settled(), RESULT),
    LATE_RESULT: received(
        settled(known=40, outcomes=outcomes(2, 1, 3, 4), transactions=paid(win={"2": 400})), LATE_RESULT
    ),
}


@pytest.mark.parametrize("gone", [(PREVIEW,), (RESULT,), (LATE_RESULT,), (RESULT, LATE_RESULT), (PREVIEW, RESULT)])
def test_a_withdrawal_leaves_what_the_other_records_state(connection: Connection, gone: tuple[UUID, ...]) -> None:
    load(connection, *(fact for record_id, fact in FACTS.items() if record_id not in gone))
    expected = views(connection)
    connection.rollback()

    load(connection, *FACTS.values())
    load(connection, *(withdrawal(record_id, FACTS[record_id].message.kind) for record_id in gone))

    assert views(connection) == expected


def test_a_withdrawal_is_a_version_and_is_announced(connection: Connection) -> None:
    load(connection, FACTS[CARD], FACTS[PREVIEW])

    (announced,) = load(connection, withdrawal(PREVIEW, "observed"))

    assert (announced.kind, announced.version, announced.status) == ("observed", 2, "listed")
    assert "conditions.weather" in announced.changed
    assert ask(
        connection, "SELECT version, record_id, revision FROM analytics.versions WHERE kind = 'observed' ORDER BY 1"
    ) == [(1, PREVIEW, "0"), (2, PREVIEW, REPLAY)]


def test_a_session_forgets_the_title_of_a_card_that_was_withdrawn(connection: Connection) -> None:
    renamed = listed().session.model_copy(update={"title": "Autumn Cup"})
    load(connection, received(listed(2)), received(listed(1, known=-100, session=renamed), CARD))
    assert ask(connection, "SELECT title FROM facts.sessions") == [("Autumn Cup",)]

    load(connection, withdrawal(CARD, "listed"))
    assert ask(connection, "SELECT title FROM facts.sessions") == [("Spring Cup",)]


def test_the_same_withdrawal_again_changes_nothing(connection: Connection) -> None:
    load(connection, *FACTS.values(), withdrawal(RESULT, "settled"))
    before = tables(connection, without=())

    assert load(connection, withdrawal(RESULT, "settled"), FACTS[RESULT]) == []

    assert tables(connection, without=()) == before


def test_a_withdrawn_card_leaves_only_the_key_of_its_event(connection: Connection) -> None:
    load(connection, FACTS[CARD], withdrawal(CARD, "listed"))

    assert ask(connection, "SELECT event_key, number, scheduled_at, title, listed_at FROM analytics.events") == [
        (key(), 1, None, None, None)
    ]
    assert ask(connection, "SELECT FROM analytics.entries") == []
    assert ask(connection, "SELECT FROM facts.profiles") == []
    assert ask(connection, "SELECT DISTINCT name, categories FROM facts.entities") == [(None, {})]


def test_a_card_and_its_withdrawal_in_one_batch_are_like_two(connection: Connection) -> None:
    load(connection, FACTS[CARD], withdrawal(CARD, "listed"))
    expected = tables(connection, without=())
    connection.rollback()

    assert Loader(StillClock(), Metrics()).handle([FACTS[CARD], withdrawal(CARD, "listed")], connection) != []

    for name, rows in tables(connection, without=("entities",)).items():
        assert rows == expected[name], name


def test_a_later_replay_states_the_fact_again(connection: Connection) -> None:
    again = received(observed(conditions=Conditions(weather=2)), PREVIEW, revision=LATER_REPLAY)
    records = [FACTS[PREVIEW], withdrawal(PREVIEW, "observed"), again]
    for order in permutations(records):
        load(connection, FACTS[CARD], *order)
        assert ask(connection, "SELECT status, observed_conditions FROM analytics.events") == [
            ("observed", {"weather": 2})
        ]
        connection.rollback()


def test_a_replaced_card_withdraws_what_it_stated_of_an_entity(connection: Connection) -> None:
    other = received(listed(entries=(entry(1, categories_of={"class": 1}),)), CARD, revision=REPLAY)

    load(connection, FACTS[CARD], other)

    assert ask(connection, "SELECT n.entity_key, p.categories FROM facts.profiles p JOIN facts.entities n ON"
               " n.id = p.entity_id") == [("river:101", {"class": 1})]  # fmt: skip
    assert ask(connection, "SELECT categories FROM facts.entities WHERE entity_key = 'river:101'") == [({"class": 1},)]


@pytest.mark.slow
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.sampled_from([PREVIEW, RESULT, LATE_RESULT])), st.data())
def test_any_order_of_facts_and_withdrawals_gives_the_same_tables(
    connection: Connection, gone: set[UUID], data: st.DataObject
) -> None:
    load(connection, *(fact for record_id, fact in FACTS.items() if record_id not in gone))
    expected = views(connection)
    connection.rollback()
    records = [*FACTS.values(), *(withdrawal(record_id, FACTS[record_id].message.kind) for record_id in sorted(gone))]

    load(connection, *data.draw(st.permutations(records)))

    result = views(connection)
    connection.rollback()
    assert result == expected
