"""A prediction follows from what was known: not from the clock, and not from how batches are cut."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest

from services.predictor.serving.predict import Predictor
from services.predictor.storage.postgres_facts import PostgresFacts
from tests.services.predictor.season import Event
from tests.services.predictor.serving.loaded_events import PARTS, Kind, predictions, told_of
from tests.services.predictor.serving.serving import SetClock, Shelf, SmallModel


def test_a_listed_event_is_predicted_from_its_card(
    predictor: Predictor, upcoming: list[Event], model: SmallModel
) -> None:
    (record,) = [
        found
        for found in predictor.handle([told_of(upcoming[0], "listed", offset=7)])
        if orjson.loads(found.value)["state"] == "card"
    ]

    (told,) = predictions([record])
    assert (record.topic, record.key) == ("predictions", upcoming[0].key.encode())
    assert (told.model_version, told.inputs) == (model.version, ("loaded-events/3/7",))
    assert (told.as_of, told.scheduled_at) == (upcoming[0].listed_at, upcoming[0].scheduled_at)
    assert (told.shadow, told.replayed, told.decision) == (False, False, None)
    heads = ("result", "top3", "trend", "behaviour")
    by_head = {head: [p for p in told.probabilities if p.head == head] for head in heads}
    assert [len(found) for found in by_head.values()] == [6, 6, 3, 18]
    assert sum(p.probability for p in by_head["result"]) == pytest.approx(1)
    assert [p.slot for p in by_head["result"]] == [1, 2, 3, 4, 5, 6]


def test_an_observed_event_is_predicted_as_of_its_observation(predictor: Predictor, upcoming: list[Event]) -> None:
    (told,) = predictions(predictor.handle([told_of(upcoming[3], "observed")]))

    assert told.state == "observation"
    assert told.as_of == upcoming[3].scheduled_at - timedelta(minutes=5)


def test_the_wall_clock_changes_nothing_in_a_prediction(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event]
) -> None:
    batch = [told_of(event, "listed") for event in upcoming]
    before = Predictor(facts, shelf, clock, PARTS).handle(batch)

    clock.at += timedelta(minutes=30)

    assert Predictor(facts, shelf, clock, PARTS).handle(batch) == before != []


@pytest.mark.parametrize("size", [1, 7])
def test_a_prediction_is_the_same_to_the_byte_however_the_batches_are_cut(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event], size: int
) -> None:
    kinds: tuple[Kind, ...] = ("listed", "observed")
    batch = [
        told_of(event, kind, offset=2 * number + part)
        for number, event in enumerate(upcoming)
        for part, kind in enumerate(kinds)
    ]
    together = Predictor(facts, shelf, clock, PARTS).handle(batch)
    cut = Predictor(facts, shelf, clock, PARTS)

    records = [record for start in range(0, len(batch), size) for record in cut.handle(batch[start : start + size])]

    assert len(together) == 2 * len(upcoming)
    assert sorted(records, key=lambda record: record.value) == sorted(together, key=lambda record: record.value)
