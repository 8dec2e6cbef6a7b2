"""Explanations: the weights of past starts, and the effect of each group of features."""

from __future__ import annotations

import pytest

from services.predictor.serving.predict import Predictor
from tests.services.predictor.season import Connection, Event
from tests.services.predictor.serving.loaded_events import loaded_record


def test_an_explanation_has_the_weights_of_past_starts_and_the_effect_of_each_group(
    predictor: Predictor, upcoming: list[Event], past: list[Event]
) -> None:
    event = upcoming[4]
    predictor.handle([loaded_record(event, "listed")])

    explanation = predictor.explain(event.key, "card")

    assert explanation is not None
    assert (explanation.event_key, explanation.state, explanation.as_of_us) == (
        event.key,
        "card",
        event.listed_at.timestamp() * 1e6,
    )
    assert [each.entity for each in explanation.slots] == list(event.entities)
    assert sum(each.win for each in explanation.slots) == pytest.approx(1)
    assert all(each.without.keys() == {"card", "observation", "history"} for each in explanation.slots)
    assert any(each.without["history"] != pytest.approx(each.win) for each in explanation.slots)
    for each in explanation.slots:
        starts = sorted(
            (start.settled_at.timestamp() * 1e6 for start in past if each.entity in start.entities), reverse=True
        )
        assert [start.settled_us for start in each.past] == starts[:16]
        assert sum(start.weight for start in each.past) == pytest.approx(1 if starts else 0)


def test_an_unknown_event_or_state_has_no_explanation(
    predictor: Predictor, upcoming: list[Event], loaded: Connection
) -> None:
    loaded.execute("UPDATE facts.events SET observed_at = NULL WHERE event_key = %s", (upcoming[0].key,))

    assert predictor.explain("made-up:2030-03-01:99:01", "card") is None
    assert predictor.explain("elsewhere:2030-03-01:99:01", "card") is None
    assert predictor.explain(upcoming[0].key, "observation") is None
