"""Which records lead to predictions, and of what."""

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
from tests.services.predictor.serving.loaded_events import PARTS, Kind, cards, predictions, settle, told_of
from tests.services.predictor.serving.serving import SetClock, Shelf


class NoFacts:
    """Facts that must not be asked for."""

    def settled(self) -> list[EventFacts]:
        raise AssertionError("asked for what settled")

    def changes(self, after: Position | None) -> Changes:
        raise AssertionError(f"asked for changes after {after}")

    def events(self, event_keys: Sequence[str]) -> list[EventFacts]:
        raise AssertionError(f"asked for {event_keys}")

    def decisions(self, session_keys: Sequence[str]) -> list[StoredDecision]:
        raise AssertionError(f"asked for {session_keys}")

    def loaded(self, predictions: Sequence[UUID]) -> frozenset[UUID]:
        raise AssertionError(f"asked for {predictions}")


def test_a_card_changed_after_the_observation_changes_both_states(predictor: Predictor, upcoming: list[Event]) -> None:
    told = predictions(predictor.handle([told_of(upcoming[3], "listed")]))

    assert [prediction.state for prediction in told] == ["card", "observation"]


@pytest.mark.parametrize(
    ("kind", "later"), [("settled", timedelta(days=3)), ("observed", timedelta(days=1)), ("listed", timedelta(days=1))]
)
def test_what_is_past_costs_no_query(
    shelf: Shelf, clock: SetClock, upcoming: list[Event], kind: Kind, later: timedelta
) -> None:
    clock.at += later
    predictor = Predictor(NoFacts(), shelf, clock, PARTS)

    assert predictor.handle([told_of(event, kind) for event in upcoming]) == []


def test_a_whole_archive_passes_in_a_few_seconds(shelf: Shelf, clock: SetClock, upcoming: list[Event]) -> None:
    clock.at += timedelta(days=1)
    batch = [told_of(event, "listed") for event in upcoming] * 100
    predictor = Predictor(NoFacts(), shelf, clock, PARTS)

    for _ in range(100):
        assert predictor.handle(batch) == []


def test_a_replay_predicts_what_is_past_as_of_then_and_says_so(
    predictor: Predictor, past: list[Event], clock: SetClock
) -> None:
    clock.at += timedelta(days=30)

    records = predictor.handle([told_of(past[20], "listed", "replay-1"), told_of(past[21], "listed")])

    told = predictions(records)
    assert {each.event_key for each in told} == {past[20].key}
    assert [(each.state, each.replayed) for each in told] == [("card", True), ("observation", True)]
    assert [each.as_of for each in told] == [past[20].listed_at, past[20].scheduled_at - timedelta(minutes=5)]
    assert {record.headers["revision"] for record in records} == {b"replay-1"}


def test_a_replay_sees_nothing_of_what_came_after(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event], loaded: Connection
) -> None:
    """Of what followed the cards: the results of the day's earlier events are no secret at its later observations."""
    asked = [told_of(event, "listed") for event in upcoming]
    live = cards(Predictor(facts, shelf, clock, PARTS).handle(asked))
    for event in upcoming:
        settle(loaded, event, winner=2)
    clock.at += timedelta(days=30)

    again = [told_of(event, "listed", "replay-1") for event in upcoming]
    replayed = cards(Predictor(facts, shelf, clock, PARTS).handle(again))

    assert [each.feature_hash for each in replayed] == [each.feature_hash for each in live] != []
    assert [each.probabilities for each in replayed] == [each.probabilities for each in live]


def test_a_card_that_was_corrected_after_the_deadline_is_no_reason_to_predict(
    predictor: Predictor, past: list[Event], loaded: Connection
) -> None:
    loaded.execute(
        "UPDATE facts.events SET listed_at = scheduled_at + interval '1 hour' WHERE event_key = %s", (past[20].key,)
    )

    assert predictor.handle([told_of(past[20], "listed", "replay-1")]) == []


def test_an_event_with_more_entries_than_the_model_knows_is_left_out(
    predictor: Predictor, upcoming: list[Event], loaded: Connection
) -> None:
    loaded.execute(
        "INSERT INTO facts.entries (event_id, slot) SELECT id, 7 FROM facts.events WHERE event_key = %s",
        (upcoming[0].key,),
    )

    told = predictions(predictor.handle([told_of(event, "observed") for event in upcoming[:2]]))

    assert [prediction.event_key for prediction in told] == [upcoming[1].key]


@pytest.mark.parametrize("change", ["status = 'cancelled'", "scheduled_at = NULL", "listed_at = NULL"])
def test_an_event_that_changed_since_it_was_told_is_left_out(
    predictor: Predictor, upcoming: list[Event], loaded: Connection, change: str
) -> None:
    loaded.execute(f"UPDATE facts.events SET {change} WHERE event_key = %s", (upcoming[0].key,))

    told = predictions(predictor.handle([told_of(event, "observed") for event in upcoming[:2]]))

    assert [prediction.event_key for prediction in told] == [upcoming[1].key]
