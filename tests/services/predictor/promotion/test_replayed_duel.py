"""Two models predict settled events again: only on days after their training, only with facts known in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.predictor.data.events import EventFacts, events_of
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from services.predictor.promotion.replayed_duel import replayed_duel
from services.predictor.registry.gate import Comparison, paired_scores
from services.predictor.storage.postgres_facts import read_settled
from tests.services.predictor.season import season, store
from tests.services.predictor.serving.small_serving_model import PROFILE, SmallModel, model_of
from tests.services.predictor.shared_database import database_of

DAYS, A_DAY = 8, 24


@pytest.fixture(scope="module")
def settled(postgres: EmbeddedPostgres) -> Iterator[list[EventFacts]]:
    with database_of(postgres) as url, psycopg.connect(url, autocommit=True) as connection:
        store(connection, season(DAYS, A_DAY, seed=4))
        yield read_settled(connection, profile=PROFILE)


@pytest.fixture(scope="module")
def sharp(settled: list[EventFacts]) -> SmallModel:
    return replace(model_of(events_of(settled, PROFILE.slots)), sharpness=0.1)


@pytest.fixture(scope="module")
def flat(sharp: SmallModel) -> SmallModel:
    """Predicts the same for every entry."""
    return replace(sharp, sharpness=0.0)


def duel_after(settled: list[EventFacts], days: int, most: int = 1000) -> Comparison:
    return Comparison("new", "old", date(1970, 1, 1) + timedelta(days=settled[0].day + days), most)


def test_each_event_after_the_training_days_is_compared_once_newest_first(
    settled: list[EventFacts], sharp: SmallModel, flat: SmallModel
) -> None:
    forecasts = replayed_duel(duel_after(settled, 4), settled, PROFILE, sharp, flat)

    late = [event for event in settled if event.day > settled[0].day + 4]
    assert {each.event_key for each in forecasts} == {event.event_key for event in late}
    assert len(forecasts) == len(late) == 3 * A_DAY
    when = {event.event_key: event.settled_us or 0 for event in late}
    assert [when[each.event_key] for each in forecasts] == sorted(when.values(), reverse=True)
    assert len({each.cluster for each in forecasts}) == 3 * 2


def test_each_model_predicts_as_it_does_alone(settled: list[EventFacts], sharp: SmallModel, flat: SmallModel) -> None:
    [forecast] = replayed_duel(duel_after(settled, 4, most=1), settled, PROFILE, sharp, flat)

    events = events_of(settled, PROFILE.slots)
    history = History(PROFILE)
    history.fold(events)
    at = np.flatnonzero(events.event_key == forecast.event_key)
    expected = sharp.probabilities(inputs_of(events[at], history, sharp.description.encoding, "observation")).win[0]
    assert forecast.challenger == pytest.approx(expected.tolist())
    assert forecast.champion == pytest.approx([1 / 6] * 6)
    assert forecast.winner == events.winner[at][0]


def test_events_that_settled_later_change_nothing(
    settled: list[EventFacts], sharp: SmallModel, flat: SmallModel
) -> None:
    before = {each.event_key: each for each in replayed_duel(duel_after(settled, 4), settled, PROFILE, sharp, flat)}
    last = settled[-1].day
    without = [event for event in settled if event.day < last]

    after = replayed_duel(duel_after(settled, 4), without, PROFILE, sharp, flat)

    assert after
    assert all(before[each.event_key] == each for each in after)


def test_an_event_that_was_not_observed_in_time_is_predicted_from_its_card(
    settled: list[EventFacts], sharp: SmallModel, flat: SmallModel
) -> None:
    late = [event._replace(observed_us=(event.scheduled_us or 0) + 1) for event in settled]

    in_time = replayed_duel(duel_after(settled, 6), settled, PROFILE, sharp, flat)
    by_card = replayed_duel(duel_after(settled, 6), late, PROFILE, sharp, flat)

    assert [each.event_key for each in by_card] == [each.event_key for each in in_time]
    assert all(one.challenger != other.challenger for one, other in zip(in_time, by_card, strict=True))


def test_an_event_without_one_winner_or_listed_too_late_is_left_out(
    settled: list[EventFacts], sharp: SmallModel, flat: SmallModel
) -> None:
    last = settled[-2:]
    changed = [
        *settled[:-2],
        last[0]._replace(entries=[entry._replace(place=1) for entry in last[0].entries]),
        last[1]._replace(listed_us=(last[1].scheduled_us or 0) + 1),
    ]

    forecasts = replayed_duel(duel_after(settled, 4), changed, PROFILE, sharp, flat)

    assert not {event.event_key for event in last} & {each.event_key for each in forecasts}
    assert len(forecasts) == 3 * A_DAY - 2


def test_without_events_after_the_training_days_there_is_no_evidence(
    settled: list[EventFacts], sharp: SmallModel, flat: SmallModel
) -> None:
    forecasts = replayed_duel(duel_after(settled, DAYS), settled, PROFILE, sharp, flat)

    assert forecasts == []
    assert not paired_scores(forecasts, "walk-forward").is_sufficient
