"""Facts that become known later change no bit of the inputs before them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from services.predictor.data.events import STATES, EntryFacts, EventFacts, State
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from tests.services.predictor.features.irregular_source import (
    DAY_US,
    FIRST_DAY,
    HOUR_US,
    MINUTE_US,
    SYNTHETIC,
    arrays,
    season,
)
from tests.services.predictor.features.reading import encoding_of, hashes, history_of

pytestmark = pytest.mark.slow
CUTOFF_US = (FIRST_DAY + 15) * DAY_US + 5.5 * HOUR_US
EntryChange = Callable[[EntryFacts], EntryFacts]


@pytest.fixture(scope="module")
def facts() -> list[EventFacts]:
    return season(days=30, seed=21)


@pytest.fixture(scope="module")
def history(facts: list[EventFacts]) -> History:
    return history_of(arrays(facts))


@pytest.fixture(scope="module")
def encoding(facts: list[EventFacts], history: History) -> Encoding:
    return encoding_of(arrays(facts), history)


def other_result(entry: EntryFacts) -> EntryFacts:
    place = 1.0 if entry.place is None else 7 - entry.place
    return entry._replace(
        place=place,
        code=14.0 if place > 4 else None,
        course=float(7 - entry.slot),
        timing_s=9.0,
        refunded=True,
        win_amount=99.0,
    )


def other_observation(entry: EntryFacts) -> EntryFacts:
    """Also changes what a recorded card contains from after its own time."""
    return entry._replace(
        observed={"lap_s": 9.9, "practice_timing_s": -3.0},
        observed_course=7 - entry.slot,
        measures={**entry.measures, "weight_kg": 77.0},
        categories={**entry.categories, "hull_number": "0"},
    )


def other_card(entry: EntryFacts) -> EntryFacts:
    return entry._replace(
        entity=f"synthetic:{60 - entry.slot}", measures={"points": 1.0}, categories={"class": "B", "motor_number": "9"}
    )


def changed_entries(event: EventFacts, *changes: EntryChange) -> list[EntryFacts]:
    entries = list(event.entries)
    for change in changes:
        entries = [change(each) for each in entries]
    return entries


def with_other_result(event: EventFacts, later_us: float) -> EventFacts:
    """Settled at another time, with another result."""
    settled = (event.settled_us or event.scheduled_us or 0.0) + later_us
    entries = changed_entries(event, other_result)
    return event._replace(status="settled", settled_us=settled, technique=4.0, amount=1.0, entries=entries)


def with_other_observation(event: EventFacts, later_us: float) -> EventFacts:
    observed = (event.observed_us or event.scheduled_us or 0.0) + later_us
    conditions: dict[str, float | None] = {"wind_m_s": 40.0, "weather": 9.0}
    entries = changed_entries(event, other_observation)
    return event._replace(observed_us=observed, conditions=conditions, distance_m=99.0, entries=entries)


def with_other_card(event: EventFacts) -> EventFacts:
    return event._replace(grade=5.0, number=1, session_title="another", entries=changed_entries(event, other_card))


def perturbed(event: EventFacts) -> EventFacts:
    """The event, with everything changed that became known after CUTOFF_US."""
    if event.status != "settled" or (event.settled_us or 0.0) > CUTOFF_US:
        event = with_other_result(event, max(HOUR_US, CUTOFF_US + 1 - (event.settled_us or event.scheduled_us or 0.0)))
    if (event.observed_us or np.inf) > CUTOFF_US:
        event = with_other_observation(
            event, max(HOUR_US, CUTOFF_US + 1 - (event.observed_us or event.scheduled_us or 0))
        )
    return with_other_card(event) if (event.listed_us or 0.0) > CUTOFF_US else event


@pytest.mark.parametrize("state", STATES)
def test_the_future_changes_no_bit(facts: list[EventFacts], history: History, encoding: Encoding, state: State) -> None:
    events, others = arrays(facts), arrays([perturbed(each) for each in facts])
    other_history = history_of(others)
    as_of = events.listed_us if state == "card" else np.fmax(events.listed_us, events.observed_us)
    unseen = np.isnan(events.observed_us) & (state == "observation")  # may be observed in the other future
    past = (as_of <= CUTOFF_US) & ~unseen

    before, after = (hashes(e, h, encoding, state) for e, h in ((events, history), (others, other_history)))

    keys = events.event_key[past]
    assert 400 < len(keys) < 700
    assert [after[key] for key in keys] == [before[key] for key in keys]
    assert all(after[key] != before[key] for key in events.event_key[events.listed_us > CUTOFF_US + DAY_US])


def test_results_that_were_settled_by_then_count(facts: list[EventFacts], history: History, encoding: Encoding) -> None:
    events = arrays(facts)
    at = next(row for row in range(400, len(facts)) if facts[row].status == "settled")
    other = history_of(arrays([*facts[:at], with_other_result(facts[at], 0.0), *facts[at + 1 :]]))

    before, after = (hashes(events, each, encoding, "card") for each in (history, other))

    changed = np.array([before[key] != after[key] for key in events.event_key])
    assert changed.any()
    assert events.listed_us[changed].min() >= facts[at].settled_us


@pytest.mark.parametrize("state", STATES)
def test_an_event_does_not_see_its_own_result(
    facts: list[EventFacts], history: History, encoding: Encoding, state: State
) -> None:
    others = [with_other_result(each, HOUR_US) for each in facts]

    before, after = (hashes(arrays(each), history, encoding, state) for each in (facts, others))

    assert before == after


def test_a_card_does_not_depend_on_the_observation(
    facts: list[EventFacts], history: History, encoding: Encoding
) -> None:
    others = [with_other_observation(each, MINUTE_US) for each in facts]

    for state in STATES:
        before, after = (hashes(arrays(each), history, encoding, state) for each in (facts, others))
        assert (before == after) is (state == "card")


def test_late_measures_are_not_features_of_the_card(encoding: Encoding) -> None:
    assert encoding.names.measures == ("points",)
    assert not any("weight_kg" in name or "hull_number" in name for name in encoding.groups)
    assert {encoding.groups[name] for name in encoding.groups if "distance_m" in name} == {"observation"}


@pytest.mark.parametrize("state", STATES)
def test_a_card_that_came_after_the_result_does_not_see_it(
    facts: list[EventFacts], encoding: Encoding, state: State
) -> None:
    """In an archive that is read years later everything is known; the event's own result must still not be used."""
    event = next(each for each in reversed(facts) if each.status == "settled")
    now = (event.settled_us or 0.0) + HOUR_US
    late = event._replace(listed_us=now, observed_us=now)
    others = [each for each in facts if each is not event and (each.settled_us or np.inf) < now]

    with_it, without = (
        hashes(arrays([late]), history_of(arrays(e)), encoding, state) for e in ([*others, late], others)
    )

    assert with_it == without


def test_a_history_may_extend_beyond_the_time_of_the_inputs(
    facts: list[EventFacts], history: History, encoding: Encoding
) -> None:
    """A complete history gives the same inputs as one that ends at CUTOFF_US."""
    known = [each for each in facts if (each.settled_us or np.inf) <= CUTOFF_US]
    past = arrays([each for each in facts if (each.listed_us or np.inf) <= CUTOFF_US])

    short = history_of(arrays(known), SYNTHETIC)

    assert len(short) < len(history)
    assert hashes(past, short, encoding, "card") == hashes(past, history, encoding, "card")
