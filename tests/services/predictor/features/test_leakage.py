"""What became known later changes no bit of what was read before it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from services.predictor.data.events import STATES, EntryFacts, EventFacts, State
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from tests.services.predictor.features.pond import DAY_US, FIRST_DAY, HOUR_US, MINUTE_US, POND, arrays, season
from tests.services.predictor.features.reading import fitted, folded, hashes

pytestmark = pytest.mark.slow
MOMENT = (FIRST_DAY + 15) * DAY_US + 5.5 * HOUR_US
Turn = Callable[[EntryFacts], EntryFacts]


@pytest.fixture(scope="module")
def found() -> list[EventFacts]:
    return season(days=30, seed=21)


@pytest.fixture(scope="module")
def history(found: list[EventFacts]) -> History:
    return folded(arrays(found))


@pytest.fixture(scope="module")
def encoding(found: list[EventFacts], history: History) -> Encoding:
    return fitted(arrays(found), history)


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
    """What a recorded card holds of later than its own time changes too."""
    return entry._replace(
        observed={"lap_s": 9.9, "practice_timing_s": -3.0},
        observed_course=7 - entry.slot,
        measures={**entry.measures, "weight_kg": 77.0},
        categories={**entry.categories, "hull_number": "0"},
    )


def other_card(entry: EntryFacts) -> EntryFacts:
    return entry._replace(
        entity=f"pond:{60 - entry.slot}", measures={"points": 1.0}, categories={"class": "B", "motor_number": "9"}
    )


def turned(event: EventFacts, *turns: Turn) -> list[EntryFacts]:
    entries = list(event.entries)
    for turn in turns:
        entries = [turn(each) for each in entries]
    return entries


def with_other_result(event: EventFacts, later_us: float) -> EventFacts:
    """Settled at another time, as something else."""
    settled = (event.settled_us or event.scheduled_us or 0.0) + later_us
    entries = turned(event, other_result)
    return event._replace(status="settled", settled_us=settled, technique=4.0, amount=1.0, entries=entries)


def with_other_observation(event: EventFacts, later_us: float) -> EventFacts:
    observed = (event.observed_us or event.scheduled_us or 0.0) + later_us
    conditions: dict[str, float | None] = {"wind_m_s": 40.0, "weather": 9.0}
    entries = turned(event, other_observation)
    return event._replace(observed_us=observed, conditions=conditions, distance_m=99.0, entries=entries)


def with_other_card(event: EventFacts) -> EventFacts:
    return event._replace(grade=5.0, number=1, session_title="another", entries=turned(event, other_card))


def perturbed(event: EventFacts) -> EventFacts:
    """Another future after the moment."""
    if event.status != "settled" or (event.settled_us or 0.0) > MOMENT:
        event = with_other_result(event, max(HOUR_US, MOMENT + 1 - (event.settled_us or event.scheduled_us or 0.0)))
    if (event.observed_us or np.inf) > MOMENT:
        event = with_other_observation(event, max(HOUR_US, MOMENT + 1 - (event.observed_us or event.scheduled_us or 0)))
    return with_other_card(event) if (event.listed_us or 0.0) > MOMENT else event


@pytest.mark.parametrize("state", STATES)
def test_the_future_changes_no_bit(found: list[EventFacts], history: History, encoding: Encoding, state: State) -> None:
    events, others = arrays(found), arrays([perturbed(each) for each in found])
    elsewhere = folded(others)
    as_of = events.listed_us if state == "card" else np.fmax(events.listed_us, events.observed_us)
    unseen = np.isnan(events.observed_us) & (state == "observation")  # what another future may observe
    past = (as_of <= MOMENT) & ~unseen

    before, after = (hashes(e, h, encoding, state) for e, h in ((events, history), (others, elsewhere)))

    kept = events.event_key[past]
    assert 400 < len(kept) < 700
    assert [after[key] for key in kept] == [before[key] for key in kept]
    assert all(after[key] != before[key] for key in events.event_key[events.listed_us > MOMENT + DAY_US])


def test_results_settled_by_then_do_count(found: list[EventFacts], history: History, encoding: Encoding) -> None:
    events = arrays(found)
    at = next(row for row in range(400, len(found)) if found[row].status == "settled")
    other = folded(arrays([*found[:at], with_other_result(found[at], 0.0), *found[at + 1 :]]))

    before, after = (hashes(events, each, encoding, "card") for each in (history, other))

    changed = np.array([before[key] != after[key] for key in events.event_key])
    assert changed.any()
    assert events.listed_us[changed].min() >= found[at].settled_us


@pytest.mark.parametrize("state", STATES)
def test_an_event_does_not_see_its_own_result(
    found: list[EventFacts], history: History, encoding: Encoding, state: State
) -> None:
    others = [with_other_result(each, HOUR_US) for each in found]

    before, after = (hashes(arrays(each), history, encoding, state) for each in (found, others))

    assert before == after


def test_a_card_is_blind_to_the_observation(found: list[EventFacts], history: History, encoding: Encoding) -> None:
    others = [with_other_observation(each, MINUTE_US) for each in found]

    for state in STATES:
        before, after = (hashes(arrays(each), history, encoding, state) for each in (found, others))
        assert (before == after) is (state == "card")


def test_what_was_written_late_is_a_measure_of_no_card(encoding: Encoding) -> None:
    assert encoding.names.measures == ("points",)
    assert not any("weight_kg" in name or "hull_number" in name for name in encoding.groups)
    assert {encoding.groups[name] for name in encoding.groups if "distance_m" in name} == {"observation"}


@pytest.mark.parametrize("state", STATES)
def test_a_card_that_came_after_the_result_does_not_see_it(
    found: list[EventFacts], encoding: Encoding, state: State
) -> None:
    """As of an archive that was read years later everything is known: the event's own result must not be."""
    event = next(each for each in reversed(found) if each.status == "settled")
    now = (event.settled_us or 0.0) + HOUR_US
    late = event._replace(listed_us=now, observed_us=now)
    others = [each for each in found if each is not event and (each.settled_us or np.inf) < now]

    with_it, without = (hashes(arrays([late]), folded(arrays(e)), encoding, state) for e in ([*others, late], others))

    assert with_it == without


def test_a_history_of_a_time_after_it_is_no_matter(
    found: list[EventFacts], history: History, encoding: Encoding
) -> None:
    """Read as of then from a history that knows everything, and from one that stopped then."""
    known = [each for each in found if (each.settled_us or np.inf) <= MOMENT]
    past = arrays([each for each in found if (each.listed_us or np.inf) <= MOMENT])

    short = folded(arrays(known), POND)

    assert len(short) < len(history)
    assert hashes(past, short, encoding, "card") == hashes(past, history, encoding, "card")
