"""Which records lead to which predictions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest

from services.predictor.data.events import EventFacts
from services.predictor.serving.predict import Predictor
from services.predictor.storage.interface import Changes, Position, StoredDecision
from services.predictor.storage.postgres_facts import PostgresFacts
from tests.services.predictor.season import Connection, Event
from tests.services.predictor.serving.loaded_events import DEPENDENCIES, Kind, cards, loaded_record, predictions, settle
from tests.services.predictor.serving.small_serving_model import InMemoryRegistry, SetClock


class NoFacts:
    """Facts that must not be read."""

    def settled(self) -> list[EventFacts]:
        raise AssertionError("read settled events")

    def changes(self, after: Position | None) -> Changes:
        raise AssertionError(f"read changes after {after}")

    def events(self, event_keys: Sequence[str]) -> list[EventFacts]:
        raise AssertionError(f"read {event_keys}")

    def decisions(self, session_keys: Sequence[str]) -> list[StoredDecision]:
        raise AssertionError(f"read {session_keys}")

    def loaded(self, predictions: Sequence[UUID]) -> frozenset[UUID]:
        raise AssertionError(f"read {predictions}")


def test_a_card_changed_after_the_observation_changes_both_states(predictor: Predictor, upcoming: list[Event]) -> None:
    messages = predictions(predictor.handle([loaded_record(upcoming[3], "listed")]))

    assert [prediction.state for prediction in messages] == ["card", "observation"]


@pytest.mark.parametrize(
    ("kind", "later"), [("settled", timedelta(days=3)), ("observed", timedelta(days=1)), ("listed", timedelta(days=1))]
)
def test_past_events_cost_no_query(
    registry: InMemoryRegistry, clock: SetClock, upcoming: list[Event], kind: Kind, later: timedelta
) -> None:
    clock.at += later
    predictor = Predictor(NoFacts(), registry, clock, DEPENDENCIES)

    assert predictor.handle([loaded_record(event, kind) for event in upcoming]) == []


def test_a_whole_archive_passes_in_a_few_seconds(
    registry: InMemoryRegistry, clock: SetClock, upcoming: list[Event]
) -> None:
    clock.at += timedelta(days=1)
    batch = [loaded_record(event, "listed") for event in upcoming] * 100
    predictor = Predictor(NoFacts(), registry, clock, DEPENDENCIES)

    for _ in range(100):
        assert predictor.handle(batch) == []


def test_a_replay_predicts_past_events_as_of_their_time_and_is_marked(
    predictor: Predictor, past: list[Event], clock: SetClock
) -> None:
    clock.at += timedelta(days=30)

    records = predictor.handle([loaded_record(past[20], "listed", "replay-1"), loaded_record(past[21], "listed")])

    messages = predictions(records)
    assert {each.event_key for each in messages} == {past[20].key}
    assert [(each.state, each.replayed) for each in messages] == [("card", True), ("observation", True)]
    assert [each.as_of for each in messages] == [past[20].listed_at, past[20].scheduled_at - timedelta(minutes=5)]
    assert {record.headers["revision"] for record in records} == {b"replay-1"}


def test_a_replay_does_not_use_later_facts(
    facts: PostgresFacts, registry: InMemoryRegistry, clock: SetClock, upcoming: list[Event], loaded: Connection
) -> None:
    """Compares cards: an observation later in the day may know results of earlier events."""
    batch = [loaded_record(event, "listed") for event in upcoming]
    live = cards(Predictor(facts, registry, clock, DEPENDENCIES).handle(batch))
    for event in upcoming:
        settle(loaded, event, winner=2)
    clock.at += timedelta(days=30)

    replay_batch = [loaded_record(event, "listed", "replay-1") for event in upcoming]
    replayed = cards(Predictor(facts, registry, clock, DEPENDENCIES).handle(replay_batch))

    assert [each.feature_hash for each in replayed] == [each.feature_hash for each in live] != []
    assert [each.probabilities for each in replayed] == [each.probabilities for each in live]


def test_a_card_that_was_corrected_after_the_deadline_is_not_predicted(
    predictor: Predictor, past: list[Event], loaded: Connection
) -> None:
    loaded.execute(
        "UPDATE facts.events SET listed_at = scheduled_at + interval '1 hour' WHERE event_key = %s", (past[20].key,)
    )

    assert predictor.handle([loaded_record(past[20], "listed", "replay-1")]) == []


def test_an_event_with_more_entries_than_the_model_knows_is_left_out(
    predictor: Predictor, upcoming: list[Event], loaded: Connection
) -> None:
    loaded.execute(
        "INSERT INTO facts.entries (event_id, slot) SELECT id, 7 FROM facts.events WHERE event_key = %s",
        (upcoming[0].key,),
    )

    messages = predictions(predictor.handle([loaded_record(event, "observed") for event in upcoming[:2]]))

    assert [prediction.event_key for prediction in messages] == [upcoming[1].key]


@pytest.mark.parametrize("change", ["status = 'cancelled'", "scheduled_at = NULL", "listed_at = NULL"])
def test_an_event_that_changed_after_its_record_is_left_out(
    predictor: Predictor, upcoming: list[Event], loaded: Connection, change: str
) -> None:
    loaded.execute(f"UPDATE facts.events SET {change} WHERE event_key = %s", (upcoming[0].key,))

    messages = predictions(predictor.handle([loaded_record(event, "observed") for event in upcoming[:2]]))

    assert [prediction.event_key for prediction in messages] == [upcoming[1].key]
