"""Model inputs: standardised values, flags for unknown ones, groups that can be left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from services.predictor.data.events import STATES, EntryFacts, EventFacts, Events, State
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from services.predictor.features.inputs import CLIP, Inputs, inputs_of
from services.predictor.features.names import GROUPS, OVER_OWN, Group, feature_names
from tests.services.predictor.features.irregular_source import SYNTHETIC, arrays, season
from tests.services.predictor.features.reading import encoding_of, history_of


@dataclass(frozen=True)
class Dataset:
    facts: list[EventFacts]
    events: Events
    history: History
    encoding: Encoding

    def inputs(self, *facts: EventFacts, state: State = "observation") -> Inputs:
        return inputs_of(arrays(facts) if facts else self.events, self.history, self.encoding, state)

    def entry(self, inputs: Inputs, name: str) -> list[float]:
        column: list[float] = inputs.entry[0, :, self.encoding.entry_features.index(name)].tolist()
        return column

    def event(self, inputs: Inputs, name: str) -> float:
        return float(inputs.event[0, self.encoding.event_features.index(name)])


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    facts = season(days=20, seed=9)
    events = arrays(facts)
    history = history_of(events)
    return Dataset(facts, events, history, encoding_of(events, history))


def complete_event(dataset: Dataset) -> EventFacts:
    """Six entries, observed, with every measure."""
    event: EventFacts = next(
        each
        for each in reversed(dataset.facts)
        if len(each.entries) == 6 and each.observed_us and None not in {e.measures["points"] for e in each.entries}
    )
    return event


def with_changed_entry(event: EventFacts, slot: int, **changes: object) -> EventFacts:
    return event._replace(entries=[e._replace(**changes) if e.slot == slot else e for e in event.entries])  # type: ignore[arg-type]


def test_known_values_are_standardised(dataset: Dataset) -> None:
    inputs = dataset.inputs()
    at = dataset.encoding.entry_features.index("points")
    known = inputs.entry[..., at][np.isfinite(dataset.events.measures["points"]) & dataset.events.occupied]

    assert known.mean() == pytest.approx(0.0, abs=0.05)
    assert known.std() == pytest.approx(1.0, abs=0.05)


def test_an_unknown_value_is_zero_with_a_flag_of_its_own(dataset: Dataset) -> None:
    event = complete_event(dataset)
    mean = dataset.encoding.entry_mean[dataset.encoding.names.entry_values.index("points")]

    unknown = dataset.inputs(with_changed_entry(event, 3, measures={"points": None}))
    usual = dataset.inputs(with_changed_entry(event, 3, measures={"points": mean}))

    assert dataset.entry(unknown, "points_unknown") == [0, 0, 1, 0, 0, 0]
    assert dataset.entry(usual, "points_unknown") == [0] * 6
    assert dataset.entry(unknown, "points")[2] == dataset.entry(usual, "points")[2] == 0.0
    assert dataset.entry(unknown, "points_rank")[2] == 0.0


def test_a_measured_zero_is_not_unknown(dataset: Dataset) -> None:
    inputs = dataset.inputs(with_changed_entry(complete_event(dataset), 3, measures={"points": 0.0}))

    assert dataset.entry(inputs, "points_unknown")[2] == 0
    assert dataset.entry(inputs, "points")[2] < -3


def test_an_extreme_value_is_clipped(dataset: Dataset) -> None:
    inputs = dataset.inputs(with_changed_entry(complete_event(dataset), 2, measures={"points": 5.1e6}))

    assert dataset.entry(inputs, "points")[1] == CLIP
    assert np.abs(inputs.entry).max() <= CLIP


def test_an_empty_slot_is_masked(dataset: Dataset) -> None:
    event = complete_event(dataset)

    inputs = dataset.inputs(event._replace(entries=event.entries[:4]))

    assert inputs.occupied[0].tolist() == [True] * 4 + [False] * 2
    assert not inputs.entry[0, 4:].any()
    assert not inputs.starts[0, 4:].any()


def test_a_flag_distinguishes_card_and_observation(dataset: Dataset) -> None:
    event = complete_event(dataset)

    flags = {state: dataset.event(dataset.inputs(event, state=state), "is_observed") for state in STATES}

    assert flags == {"card": 0.0, "observation": 1.0}
    assert dataset.inputs(event, state="card").course.tolist() == [[0] * 6]


def test_without_an_observation_the_inputs_are_those_of_the_card(dataset: Dataset) -> None:
    event = complete_event(dataset)._replace(observed_us=None)

    assert dataset.inputs(event).hashes() == dataset.inputs(event, state="card").hashes()


def test_the_lane_of_an_entry_is_the_observed_one(dataset: Dataset) -> None:
    event = complete_event(dataset)
    swapped = with_changed_entry(with_changed_entry(event, 1, observed_course=2), 2, observed_course=1)

    inputs = dataset.inputs(swapped)

    assert inputs.course[0, :2].tolist() == [2, 1]
    assert dataset.entry(inputs, "course=2")[:2] == [1, 0]
    assert dataset.entry(inputs, "slot=2")[:2] == [0, 1]
    assert dataset.entry(inputs, "points_inner")[1] == 0.0, "no entry is further in"


@pytest.mark.parametrize("course", [0.0, 7.0, None])
def test_an_impossible_course_is_unknown(dataset: Dataset, course: float | None) -> None:
    assert dataset.inputs(with_changed_entry(complete_event(dataset), 4, observed_course=course)).course[0, 3] == 0


def test_a_class_or_code_that_is_new_since_training_sets_no_column(dataset: Dataset) -> None:
    event = complete_event(dataset)

    inputs = dataset.inputs(with_changed_entry(event, 1, categories={"class": "Z"})._replace(grade=8.0))

    assert [dataset.entry(inputs, f"class={each}")[0] for each in "AB"] == [0, 0]
    assert not any(dataset.event(inputs, name) for name in dataset.encoding.event_features if name.startswith("grade="))


def test_a_venue_that_is_new_since_training_has_index_zero(dataset: Dataset) -> None:
    event = complete_event(dataset)

    assert [dataset.inputs(event._replace(venue=venue)).venue[0] for venue in (0, 2, 1, 77)] == [1, 3, 2, 0]


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_that_is_left_out_is_unknown(dataset: Dataset, group: Group) -> None:
    inputs = dataset.inputs(complete_event(dataset))

    without = inputs.without_group(dataset.encoding, group)

    for values, reduced, groups, features in (
        (inputs.entry, without.entry, dataset.encoding.entry_groups, dataset.encoding.entry_features),
        (inputs.event, without.event, dataset.encoding.event_groups, dataset.encoding.event_features),
    ):
        uses_history = np.array([group == "history" and OVER_OWN in each for each in features])
        others = np.array([each != group for each in groups]) & ~uses_history
        unknown = np.array([each.endswith("_unknown") for each in features])
        assert (reduced[..., uses_history] == unknown[uses_history]).all()
        assert np.array_equal(values[..., others], reduced[..., others])
        assert others.all() or not np.array_equal(values[..., ~others], reduced[..., ~others])
    assert without.started.any() == (group != "history")
    assert without.course.any() == (group != "observation")


def test_without_the_observation_an_entry_is_read_as_on_its_card(dataset: Dataset) -> None:
    """Compares the observation's own features: the history may be newer than the card's."""
    event = complete_event(dataset)._replace(observed_us=complete_event(dataset).listed_us)
    observed = np.array([group == "observation" for group in dataset.encoding.entry_groups])

    without = dataset.inputs(event).without_group(dataset.encoding, "observation")
    card = dataset.inputs(event, state="card")

    assert np.array_equal(without.entry[..., observed], card.entry[..., observed])
    assert np.array_equal(without.course, card.course)


def test_different_inputs_have_different_hashes(dataset: Dataset) -> None:
    hashes = dataset.inputs().hashes()

    assert len(set(hashes)) == len(dataset.events)
    assert dataset.inputs()[np.array([7])].hashes() == [hashes[7]]


def test_an_encoding_is_unchanged_by_serialisation(dataset: Dataset) -> None:
    again = Encoding.model_validate_json(dataset.encoding.model_dump_json())

    assert again == dataset.encoding
    assert inputs_of(dataset.events, dataset.history, again, "card").hashes() == dataset.inputs(state="card").hashes()


def test_every_column_has_a_name_and_a_group(dataset: Dataset) -> None:
    inputs, encoding = dataset.inputs(), dataset.encoding

    assert inputs.entry.shape[2] == len(encoding.entry_features) == len(encoding.entry_groups)
    assert inputs.event.shape[1] == len(encoding.event_features) == len(encoding.event_groups)
    assert len(encoding.groups) == len(encoding.entry_features) + len(encoding.event_features)


def test_identities_are_not_categories() -> None:
    """Even with few values. A category with many values counts as an identity, too."""
    kinds = [
        EntryFacts(slot, categories={"motor_number": slot, "hull_number": slot, "size": slot % 3, "name": f"n{number}"})
        for number in range(12)
        for slot in [1 + number % 6]
    ]
    events = arrays([event_with(kinds[:6], "a"), event_with(kinds[6:], "b")])

    names = feature_names(events, SYNTHETIC)

    assert names.categories == {"size": ("0", "1", "2")}


def event_with(entries: list[EntryFacts], key: str) -> EventFacts:
    return EventFacts(key, "synthetic:1", 25_000, 1, 1, "listed", entries)
