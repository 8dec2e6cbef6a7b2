"""What models read: standardised, unknown told apart, groups that can be left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from services.predictor.data.events import STATES, EntryFacts, EventFacts, Events, State
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from services.predictor.features.inputs import CLIP, Inputs, inputs_of
from services.predictor.features.names import GROUPS, OVER_OWN, Group, feature_names
from tests.services.predictor.features.pond import POND, arrays, season
from tests.services.predictor.features.reading import fitted, folded


@dataclass(frozen=True)
class Read:
    found: list[EventFacts]
    events: Events
    history: History
    encoding: Encoding

    def inputs(self, *found: EventFacts, state: State = "observation") -> Inputs:
        return inputs_of(arrays(found) if found else self.events, self.history, self.encoding, state)

    def entry(self, inputs: Inputs, name: str) -> list[float]:
        column: list[float] = inputs.entry[0, :, self.encoding.entry_features.index(name)].tolist()
        return column

    def event(self, inputs: Inputs, name: str) -> float:
        return float(inputs.event[0, self.encoding.event_features.index(name)])


@pytest.fixture(scope="module")
def read() -> Read:
    found = season(days=20, seed=9)
    events = arrays(found)
    history = folded(events)
    return Read(found, events, history, fitted(events, history))


def full(read: Read) -> EventFacts:
    """Six entries, observed, with every measure."""
    found: EventFacts = next(
        each
        for each in reversed(read.found)
        if len(each.entries) == 6 and each.observed_us and None not in {e.measures["points"] for e in each.entries}
    )
    return found


def changed(event: EventFacts, slot: int, **given: object) -> EventFacts:
    return event._replace(entries=[e._replace(**given) if e.slot == slot else e for e in event.entries])  # type: ignore[arg-type]


def test_known_values_are_of_unit_size(read: Read) -> None:
    inputs = read.inputs()
    at = read.encoding.entry_features.index("points")
    known = inputs.entry[..., at][np.isfinite(read.events.measures["points"]) & read.events.occupied]

    assert known.mean() == pytest.approx(0.0, abs=0.05)
    assert known.std() == pytest.approx(1.0, abs=0.05)


def test_unknown_is_a_flag_of_its_own_and_no_value_of_the_measure(read: Read) -> None:
    event = full(read)
    mean = read.encoding.entry_mean[read.encoding.names.entry_values.index("points")]

    unknown = read.inputs(changed(event, 3, measures={"points": None}))
    usual = read.inputs(changed(event, 3, measures={"points": mean}))

    assert read.entry(unknown, "points_unknown") == [0, 0, 1, 0, 0, 0]
    assert read.entry(usual, "points_unknown") == [0] * 6
    assert read.entry(unknown, "points")[2] == read.entry(usual, "points")[2] == 0.0
    assert read.entry(unknown, "points_rank")[2] == 0.0


def test_a_zero_that_was_measured_is_a_value(read: Read) -> None:
    found = read.inputs(changed(full(read), 3, measures={"points": 0.0}))

    assert read.entry(found, "points_unknown")[2] == 0
    assert read.entry(found, "points")[2] < -3


def test_a_typing_error_does_not_drown_the_rest(read: Read) -> None:
    found = read.inputs(changed(full(read), 2, measures={"points": 5.1e6}))

    assert read.entry(found, "points")[1] == CLIP
    assert np.abs(found.entry).max() <= CLIP


def test_an_empty_slot_is_masked(read: Read) -> None:
    event = full(read)

    found = read.inputs(event._replace(entries=event.entries[:4]))

    assert found.occupied[0].tolist() == [True] * 4 + [False] * 2
    assert not found.entry[0, 4:].any()
    assert not found.starts[0, 4:].any()


def test_a_card_is_told_apart_from_an_observation(read: Read) -> None:
    event = full(read)

    flags = {state: read.event(read.inputs(event, state=state), "is_observed") for state in STATES}

    assert flags == {"card": 0.0, "observation": 1.0}
    assert read.inputs(event, state="card").course.tolist() == [[0] * 6]


def test_asked_for_an_observation_that_never_came_it_is_the_card(read: Read) -> None:
    event = full(read)._replace(observed_us=None)

    assert read.inputs(event).hashes() == read.inputs(event, state="card").hashes()


def test_an_entry_stands_in_the_lane_that_was_observed(read: Read) -> None:
    event = full(read)
    swapped = changed(changed(event, 1, observed_course=2), 2, observed_course=1)

    found = read.inputs(swapped)

    assert found.course[0, :2].tolist() == [2, 1]
    assert read.entry(found, "course=2")[:2] == [1, 0]
    assert read.entry(found, "slot=2")[:2] == [0, 1]
    assert read.entry(found, "points_inner")[1] == 0.0, "nobody is further in"


@pytest.mark.parametrize("course", [0.0, 7.0, None])
def test_a_course_that_cannot_be_is_unknown(read: Read, course: float | None) -> None:
    assert read.inputs(changed(full(read), 4, observed_course=course)).course[0, 3] == 0


def test_a_class_or_code_that_training_did_not_meet_is_none_of_those_it_did(read: Read) -> None:
    event = full(read)

    found = read.inputs(changed(event, 1, categories={"class": "Z"})._replace(grade=8.0))

    assert [read.entry(found, f"class={each}")[0] for each in "AB"] == [0, 0]
    assert not any(read.event(found, name) for name in read.encoding.event_features if name.startswith("grade="))


def test_a_venue_that_training_did_not_meet_is_nobodys(read: Read) -> None:
    event = full(read)

    assert [read.inputs(event._replace(venue=venue)).venue[0] for venue in (0, 2, 1, 77)] == [1, 3, 2, 0]


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_that_is_left_out_is_unknown(read: Read, group: Group) -> None:
    inputs = read.inputs(full(read))

    without = inputs.without_group(read.encoding, group)

    for kept, told, groups, features in (
        (inputs.entry, without.entry, read.encoding.entry_groups, read.encoding.entry_features),
        (inputs.event, without.event, read.encoding.event_groups, read.encoding.event_features),
    ):
        of_past = np.array([group == "history" and OVER_OWN in each for each in features])
        others = np.array([each != group for each in groups]) & ~of_past
        unknown = np.array([each.endswith("_unknown") for each in features])
        assert (told[..., of_past] == unknown[of_past]).all()
        assert np.array_equal(kept[..., others], told[..., others])
        assert others.all() or not np.array_equal(kept[..., ~others], told[..., ~others])
    assert without.started.any() == (group != "history")
    assert without.course.any() == (group != "observation")


def test_without_the_observation_an_entry_is_read_as_on_its_card(read: Read) -> None:
    """Of what the observation says by itself; the history is that of its time."""
    event = full(read)._replace(observed_us=full(read).listed_us)
    observed = np.array([group == "observation" for group in read.encoding.entry_groups])

    without = read.inputs(event).without_group(read.encoding, "observation")
    card = read.inputs(event, state="card")

    assert np.array_equal(without.entry[..., observed], card.entry[..., observed])
    assert np.array_equal(without.course, card.course)


def test_hashes_tell_inputs_apart(read: Read) -> None:
    found = read.inputs().hashes()

    assert len(set(found)) == len(read.events)
    assert read.inputs()[np.array([7])].hashes() == [found[7]]


def test_an_encoding_survives_being_written_down(read: Read) -> None:
    again = Encoding.model_validate_json(read.encoding.model_dump_json())

    assert again == read.encoding
    assert inputs_of(read.events, read.history, again, "card").hashes() == read.inputs(state="card").hashes()


def test_every_column_has_a_name_and_a_group(read: Read) -> None:
    inputs, encoding = read.inputs(), read.encoding

    assert inputs.entry.shape[2] == len(encoding.entry_features) == len(encoding.entry_groups)
    assert inputs.event.shape[1] == len(encoding.event_features) == len(encoding.event_groups)
    assert len(encoding.groups) == len(encoding.entry_features) + len(encoding.event_features)


def test_identities_are_no_classes() -> None:
    """However few values they happen to have; a class with many values is an identity too."""
    kinds = [
        EntryFacts(slot, categories={"motor_number": slot, "hull_number": slot, "size": slot % 3, "name": f"n{number}"})
        for number in range(12)
        for slot in [1 + number % 6]
    ]
    events = arrays([full_of(kinds[:6], "a"), full_of(kinds[6:], "b")])

    names = feature_names(events, POND)

    assert names.categories == {"size": ("0", "1", "2")}


def full_of(entries: list[EntryFacts], key: str) -> EventFacts:
    return EventFacts(key, "pond:1", 25_000, 1, 1, "listed", entries)
