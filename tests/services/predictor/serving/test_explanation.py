"""Which starts counted, and what each group of features did."""

from __future__ import annotations

import pytest

from services.predictor.serving.predict import Predictor
from tests.services.predictor.season import Connection, Event
from tests.services.predictor.serving.loaded_events import told_of


def test_an_explanation_says_which_starts_counted_and_what_each_group_did(
    predictor: Predictor, upcoming: list[Event], past: list[Event]
) -> None:
    event = upcoming[4]
    predictor.handle([told_of(event, "listed")])

    found = predictor.explain(event.key, "card")

    assert found is not None
    assert (found.event_key, found.state, found.as_of_us) == (event.key, "card", event.listed_at.timestamp() * 1e6)
    assert [each.entity for each in found.slots] == list(event.entities)
    assert sum(each.win for each in found.slots) == pytest.approx(1)
    assert all(each.without.keys() == {"card", "observation", "history"} for each in found.slots)
    assert any(each.without["history"] != pytest.approx(each.win) for each in found.slots)
    for each in found.slots:
        starts = sorted(
            (start.settled_at.timestamp() * 1e6 for start in past if each.entity in start.entities), reverse=True
        )
        assert [start.settled_us for start in each.past] == starts[:16]
        assert sum(start.weight for start in each.past) == pytest.approx(1 if starts else 0)


def test_what_nobody_knows_is_not_explained(predictor: Predictor, upcoming: list[Event], loaded: Connection) -> None:
    loaded.execute("UPDATE facts.events SET observed_at = NULL WHERE event_key = %s", (upcoming[0].key,))

    assert predictor.explain("made-up:2030-03-01:99:01", "card") is None
    assert predictor.explain("elsewhere:2030-03-01:99:01", "card") is None
    assert predictor.explain(upcoming[0].key, "observation") is None
