"""Serving, which learns as results arrive, and training, which reads an archive, see the same bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from services.predictor.data.events import STATES, EventFacts, Events, State
from services.predictor.features.encoding import Encoding
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of
from tests.services.predictor.features.pond import HOUR_US, POND, arrays, season
from tests.services.predictor.features.reading import fitted, folded, hashes

pytestmark = pytest.mark.slow
RNG = np.random.default_rng
Fact = tuple[float, str, EventFacts]


@dataclass(frozen=True)
class Archive:
    """A season that is over, its history, and what training reads of it."""

    found: list[EventFacts]
    events: Events
    history: History
    encoding: Encoding
    read: dict[State, dict[str, str]]


@pytest.fixture(scope="module")
def archive() -> Archive:
    found = season(days=60, seed=7)
    events = arrays(found)
    history = folded(events)
    encoding = fitted(events, history)
    return Archive(found, events, history, encoding, {s: hashes(events, history, encoding, s) for s in STATES})


def timeline(found: list[EventFacts]) -> list[Fact]:
    """What becomes known when; a result before the cards and observations of the same instant."""
    facts = []
    for each in found:
        if each.settled_us is not None:
            facts.append((each.settled_us, "1 settled", each))
        facts.append((each.listed_us or 0.0, "2 card", each))
        if each.observed_us is not None:
            facts.append((each.observed_us, "3 observation", each))
    return sorted(facts, key=lambda fact: fact[:2])


def served(
    facts: list[tuple[float, str, EventFacts]], cuts: list[int], encoding: Encoding
) -> dict[State, dict[str, str]]:
    """Facts as they arrive, some at a time: results are taken in, cards and observations are predicted. A service that
    polls has the results of a batch in its history when it reads the batch's first card: its instant decides."""
    history = History(POND)
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


def test_what_arrives_in_batches_of_any_size_is_read_as_in_the_archive(archive: Archive) -> None:
    facts = timeline(archive.found)
    cuts = sorted(RNG(1).choice(len(facts), 200, replace=False).tolist())

    read = served(facts, cuts, archive.encoding)

    observed = archive.events.event_key[np.isfinite(archive.events.observed_us)]
    assert len(archive.events) > 2000
    assert read["card"] == archive.read["card"]
    assert read["observation"] == {key: archive.read["observation"][key] for key in observed}


def test_what_arrives_fact_by_fact_is_read_as_in_the_archive(archive: Archive) -> None:
    some = archive.found[:180]
    facts = timeline(some)

    read = served(facts, list(range(1, len(facts))), archive.encoding)

    assert read["card"] == {each.event_key: archive.read["card"][each.event_key] for each in some}


def test_the_order_in_which_results_are_taken_in_does_not_matter(archive: Archive) -> None:
    history = History(POND)
    for rows in np.array_split(RNG(1).permutation(len(archive.events)), 6):
        history.fold(archive.events[rows])

    assert len(history) == len(archive.history)
    for state in STATES:
        assert hashes(archive.events, history, archive.encoding, state) == archive.read[state]


def wrongly(each: EventFacts, how: int) -> EventFacts:
    """One of the ways in which what is said of an event may have been wrong at first."""
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


def test_corrections_leave_no_trace(archive: Archive) -> None:
    rng = RNG(3)
    history = History(POND)
    history.fold(arrays([wrongly(each, int(rng.integers(11))) for each in archive.found]))
    before = hashes(archive.events, history, archive.encoding, "card")

    for rows in np.array_split(rng.permutation(len(archive.events)), 3):
        history.fold(archive.events[rows])

    assert before != archive.read["card"]
    assert len(history) == len(archive.history)
    for state in STATES:
        assert hashes(archive.events, history, archive.encoding, state) == archive.read[state]


@pytest.mark.parametrize("how", range(10))
def test_each_kind_of_correction_is_noticed(archive: Archive, how: int) -> None:
    some = archive.found[:60]
    at = next(at for at, e in enumerate(some) if e.status == "settled" and e.observed_us and e.entries[0].course)
    right, later = some[at], archive.events[:400]
    history = folded(arrays([*some[:at], wrongly(right, how), *some[at + 1 :]]))
    events = arrays(some)
    wrong = hashes(later, history, archive.encoding, "observation")

    history.fold(arrays([right]))

    found = hashes(later, history, archive.encoding, "observation")
    assert found == hashes(later, folded(events), archive.encoding, "observation")
    assert found != wrong


def test_saying_the_same_again_changes_nothing(archive: Archive) -> None:
    history = folded(archive.events[:200])
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


def test_reading_an_unknown_meeting_leaves_no_trace(archive: Archive) -> None:
    stranger = archive.events[:1]
    stranger.session_title[0] = "never seen"

    number = archive.history.meetings_of(stranger.venue, stranger.session_title)

    assert number == 0
