"""A prediction depends on the known facts, and not on the clock or on the size of batches."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest

from services.predictor.serving.predict import Predictor
from services.predictor.storage.postgres_facts import PostgresFacts
from tests.services.predictor.season import Event
from tests.services.predictor.serving.loaded_events import DEPENDENCIES, Kind, loaded_record, predictions
from tests.services.predictor.serving.small_serving_model import InMemoryRegistry, SetClock, SmallModel


def test_a_listed_event_is_predicted_from_its_card(
    predictor: Predictor, upcoming: list[Event], model: SmallModel
) -> None:
    (record,) = [
        record
        for record in predictor.handle([loaded_record(upcoming[0], "listed", offset=7)])
        if orjson.loads(record.value)["state"] == "card"
    ]

    (prediction,) = predictions([record])
    assert (record.topic, record.key) == ("predictions", upcoming[0].key.encode())
    assert (prediction.model_version, prediction.inputs) == (model.version, ("loaded-events/3/7",))
    assert (prediction.as_of, prediction.scheduled_at) == (upcoming[0].listed_at, upcoming[0].scheduled_at)
    assert (prediction.shadow, prediction.replayed, prediction.decision) == (False, False, None)
    heads = ("result", "top3", "trend", "behaviour")
    by_head = {head: [p for p in prediction.probabilities if p.head == head] for head in heads}
    assert [len(each) for each in by_head.values()] == [6, 6, 3, 18]
    assert sum(p.probability for p in by_head["result"]) == pytest.approx(1)
    assert [p.slot for p in by_head["result"]] == [1, 2, 3, 4, 5, 6]


def test_an_observed_event_is_predicted_as_of_its_observation(predictor: Predictor, upcoming: list[Event]) -> None:
    (prediction,) = predictions(predictor.handle([loaded_record(upcoming[3], "observed")]))

    assert prediction.state == "observation"
    assert prediction.as_of == upcoming[3].scheduled_at - timedelta(minutes=5)


def test_the_wall_clock_changes_nothing_in_a_prediction(
    facts: PostgresFacts, registry: InMemoryRegistry, clock: SetClock, upcoming: list[Event]
) -> None:
    batch = [loaded_record(event, "listed") for event in upcoming]
    before = Predictor(facts, registry, clock, DEPENDENCIES).handle(batch)

    clock.at += timedelta(minutes=30)

    assert Predictor(facts, registry, clock, DEPENDENCIES).handle(batch) == before != []


@pytest.mark.parametrize("size", [1, 7])
def test_a_prediction_has_the_same_bytes_in_batches_of_any_size(
    facts: PostgresFacts, registry: InMemoryRegistry, clock: SetClock, upcoming: list[Event], size: int
) -> None:
    kinds: tuple[Kind, ...] = ("listed", "observed")
    batch = [
        loaded_record(event, kind, offset=2 * number + part)
        for number, event in enumerate(upcoming)
        for part, kind in enumerate(kinds)
    ]
    together = Predictor(facts, registry, clock, DEPENDENCIES).handle(batch)
    predictor = Predictor(facts, registry, clock, DEPENDENCIES)

    records = [
        record for start in range(0, len(batch), size) for record in predictor.handle(batch[start : start + size])
    ]

    assert len(together) == 2 * len(upcoming)
    assert sorted(records, key=lambda record: record.value) == sorted(together, key=lambda record: record.value)
