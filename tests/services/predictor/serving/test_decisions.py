"""What the policy decides, given how a session went so far."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.predictor.serving.predict import Predictor
from services.predictor.storage.postgres_facts import PostgresFacts
from tests.services.predictor.season import Connection, Event
from tests.services.predictor.serving.loaded_events import PARTS, keep, predictions, settle, told_of
from tests.services.predictor.serving.serving import AlwaysFirst, Misfit, SetClock, Shelf, SmallModel


def test_decisions_know_their_session_so_far(
    facts: PostgresFacts, clock: SetClock, upcoming: list[Event], loaded: Connection, model: SmallModel
) -> None:
    shelf = Shelf(replace(model, policy=AlwaysFirst()))
    predictor = Predictor(facts, shelf, clock, PARTS)
    records = predictor.handle([told_of(event, "observed") for event in upcoming[:3]])
    keep(loaded, records)
    settle(loaded, upcoming[0], winner=2)
    loaded.execute(
        "INSERT INTO facts.transactions (event_id, market, selection, amount, ordinal)"
        " SELECT id, 'win', '2', 450, 1 FROM facts.events WHERE event_key = %s",
        (upcoming[0].key,),
    )

    restarted = Predictor(facts, shelf, clock, PARTS)
    (later,) = predictions(restarted.handle([told_of(upcoming[5], "observed")]))

    assert later.decision is not None
    assert later.decision.action == "back 1"
    assert later.decision.values["left"] == pytest.approx(7 / 12)
    assert later.decision.values["staked"] == pytest.approx(3 / 12)
    assert later.decision.values["net"] == pytest.approx(-1 / 12)
    assert later.decision.values["win"] == pytest.approx(later.probabilities[0].probability)


def test_a_policy_that_does_not_fit_keeps_no_prediction_back(
    predictor: Predictor, shelf: Shelf, upcoming: list[Event], model: SmallModel
) -> None:
    shelf.one = replace(model, policy=Misfit())

    (told,) = predictions(predictor.handle([told_of(upcoming[0], "observed")]))

    assert told.decision is None
