"""Serving, which gets results as they arrive, and training, which reads an archive, compute the same bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from services.predictor.data.events import STATES, EventFacts, Events, State
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from tests.services.predictor.features.irregular_source import HOUR_US, SYNTHETIC, arrays, season
from tests.services.predictor.features.reading import encoding_of, hashes, history_of

pytestmark = pytest.mark.slow
RNG = np.random.default_rng
Fact = tuple[float, str, EventFacts]


@dataclass(frozen=True)
class Archive:
    """A season that is over, its history, and the hashes of its inputs."""

    event_facts: list[EventFacts]
    events: Events
    history: History
    encoding: Encoding
    read: dict[State, dict[str, str]]


@pytest.fixture(scope="module")
def archive() -> Archive:
    event_facts = season(days=60, seed=7)
    events = arrays(event_facts)
    history = history_of(events)
    encoding = encoding_of(events, history)
    return Archive(event_facts, events, history, encoding, {s: hashes(events, history, encoding, s) for s in STATES})


def timeline(event_facts: list[EventFacts]) -> list[Fact]:
    """What becomes known when; a result before the cards and observations of the same instant."""
    facts = []
    for each in event_facts:
        if each.settled_us is not None:
            facts.append((each.settled_us, "1 settled", each))
        facts.append((each.listed_us or 0.0, "2 card", each))
        if each.observed_us is not None:
            facts.append((each.observed_us, "3 observation", each))
    return sorted(facts, key=lambda fact: fact[:2])


def incremental_hashes(
    facts: list[tuple[float, str, EventFacts]], cuts: list[int], encoding: Encoding
) -> dict[State, dict[str, str]]:
    """Facts in batches, as a service gets them: results are folded, cards and observations are read. All results of a
    batch are in the history when its first card is read; only the times decide which of them count."""
    history = History(SYNTHETIC)
    read: dict[State, dict[str, str]] = {"card": {}, "observation": {}}
    for first, last in zip([0, *cuts], [*cuts, len(facts)], strict=True):
        arrived: dict[str, list[EventFacts]] = {"settled": [], "card": [], "observation": []}
        for _, kind, each in facts[first:last]:
            arrived[kind[2:]].append(each)
        if arrived["settled"]:
            history.fold(arrays(arrived["settled"]))
        for state in STATES:
            if arrived[state]:
                upcoming = [each._replace(status="listed", settled_us=None) for each in arrived[state]]
                read[state] |= hashes(arrays(upcoming), history, encoding, state)
    return read


def test_batches_of_any_size_give_the_inputs_of_the_archive(archive: Archive) -> None:
    facts = timeline(archive.event_facts)
    cuts = sorted(RNG(1).choice(len(facts), 200, replace=False).tolist())

    read = incremental_hashes(facts, cuts, archive.encoding)

    observed = archive.events.event_key[np.isfinite(archive.events.observed_us)]
    assert len(archive.events) > 2000
    assert read["card"] == archive.read["card"]
    assert read["observation"] == {key: archive.read["observation"][key] for key in observed}


def test_single_facts_give_the_inputs_of_the_archive(archive: Archive) -> None:
    some = archive.event_facts[:180]
    facts = timeline(some)

    read = incremental_hashes(facts, list(range(1, len(facts))), archive.encoding)

    assert read["card"] == {each.event_key: archive.read["card"][each.event_key] for each in some}


def test_the_order_of_folds_does_not_matter(archive: Archive) -> None:
    history = History(SYNTHETIC)
    for rows in np.array_split(RNG(1).permutation(len(archive.events)), 6):
        history.fold(archive.events[rows])

    assert len(history) == len(archive.history)
    for state in STATES:
        assert hashes(archive.events, history, archive.encoding, state) == archive.read[state]


def wrong_version(each: EventFacts, how: int) -> EventFacts:
    """A first version of the event that is wrong in one way."""
    entries = list(each.entries)
    first = entries[0]
    return [
        each._replace(status="void", settled_us=None),
        each._replace(settled_us=None if each.settled_us is None else each.settled_us - HOUR_US / 2),
        each._replace(entries=[first._replace(place=6.0, code=None), *entries[1:]]),
        each._replace(entries=[first._replace(measures={"points": 9.9}), *entries[1:]]),
        each._replace(entries=[first._replace(categories={"motor_number": "77"}), *entries[1:]]),
        each._replace(entries=[first._replace(observed={"lap_s": 7.7}), *entries[1:]]),
        each._replace(venue=9),
        each._replace(session_title="another"),
        each._replace(entries=[*entries[:-1]]),
        each._replace(grade=5.0, technique=2.0),
        each._replace(status="settled", settled_us=each.settled_us or each.scheduled_us),
    ][how]


def test_corrected_facts_give_the_inputs_of_the_archive(archive: Archive) -> None:
    rng = RNG(3)
    history = History(SYNTHETIC)
    history.fold(arrays([wrong_version(each, int(rng.integers(11))) for each in archive.event_facts]))
    before = hashes(archive.events, history, archive.encoding, "card")

    for rows in np.array_split(rng.permutation(len(archive.events)), 3):
        history.fold(archive.events[rows])

    assert before != archive.read["card"]
    assert len(history) == len(archive.history)
    for state in STATES:
        assert hashes(archive.events, history, archive.encoding, state) == archive.read[state]


@pytest.mark.parametrize("how", range(10))
def test_each_kind_of_correction_is_noticed(archive: Archive, how: int) -> None:
    some = archive.event_facts[:60]
    at = next(at for at, e in enumerate(some) if e.status == "settled" and e.observed_us and e.entries[0].course)
    right, later = some[at], archive.events[:400]
    history = history_of(arrays([*some[:at], wrong_version(right, how), *some[at + 1 :]]))
    events = arrays(some)
    wrong = hashes(later, history, archive.encoding, "observation")

    history.fold(arrays([right]))

    corrected = hashes(later, history, archive.encoding, "observation")
    assert corrected == hashes(later, history_of(events), archive.encoding, "observation")
    assert corrected != wrong


def test_folding_the_same_facts_again_changes_nothing(archive: Archive) -> None:
    history = history_of(archive.events[:200])
    lengths = [len(store) for store in history.stores.all_stores]
    values = history.entities.values

    history.fold(archive.events[np.arange(199, -1, -1)])

    assert [len(store) for store in history.stores.all_stores] == lengths
    assert history.entities.values is values


@pytest.mark.parametrize("state", STATES)
def test_a_row_does_not_depend_on_its_batch(archive: Archive, state: State) -> None:
    rng = RNG(4)
    for size in (1, 1, 1, 2, 7, 333):
        some = archive.events[rng.choice(len(archive.events), size, replace=False)]
        expected = {key: archive.read[state][key] for key in some.event_key}
        assert hashes(some, archive.history, archive.encoding, state) == expected


def test_features_are_numbers(archive: Archive) -> None:
    inputs = inputs_of(archive.events, archive.history, archive.encoding, "observation")

    assert np.isfinite(inputs.entry).all()
    assert np.isfinite(inputs.event).all()
    assert np.isfinite(inputs.starts).all()
    assert inputs.started.any(axis=(0, 1)).all()


def test_reading_an_unknown_meeting_does_not_create_it(archive: Archive) -> None:
    event = archive.events[:1]
    event.session_title[0] = "never seen"

    number = archive.history.meetings_of(event.venue, event.session_title)

    assert number == 0
