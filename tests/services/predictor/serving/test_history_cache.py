"""Histories are what tables say, source by source, whatever comes in between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from services.predictor.data.events import DAY_US, EventFacts, events_of
from services.predictor.data.profile import profile_of, source_of
from services.predictor.features.inputs import inputs_of
from services.predictor.serving.history_cache import HistoryCache
from services.predictor.serving.predict import Predictor
from services.predictor.storage.interface import Changes, EventChange, Position
from services.predictor.storage.postgres_facts import PostgresFacts
from shared.errors import TransientError
from tests.services.predictor.season import SOURCE, Connection, Event
from tests.services.predictor.serving.loaded_events import PARTS, settle, told_of
from tests.services.predictor.serving.replica import event
from tests.services.predictor.serving.serving import PROFILE, PROFILES, SetClock, Shelf, model_of


class Tables:
    """Events that change; each change is a position."""

    def __init__(self, *events: EventFacts) -> None:
        self.rows = {each.event_key: each for each in events}
        self.changed: list[str] = []
        self.away_in = 10**6

    def put(self, changed: EventFacts) -> None:
        self.rows[changed.event_key] = changed
        self.changed.append(changed.event_key)

    def settled(self) -> list[EventFacts]:
        self._asked()
        return [each for each in self.rows.values() if each.status == "settled"]

    def changes(self, after: Position | None) -> Changes:
        self._asked()
        at = len(self.changed)
        new = [] if after is None else self.changed[int(after.oldest) :]
        return Changes(
            tuple(EventChange(key, at, self.rows[key].status, 0.0) for key in sorted(set(new))), Position(str(at))
        )

    def events(self, event_keys: Sequence[str]) -> list[EventFacts]:
        self._asked()
        return [self.rows[key] for key in event_keys]

    def _asked(self) -> None:
        self.away_in -= 1
        if self.away_in == 0:
            raise TransientError("away")


def same(first: HistoryCache, second: HistoryCache, source: str = "made-up") -> bool:
    """Whether models would read the same of them, in an event of the same entities a day later."""
    later = event(7)._replace(listed_us=(event(7).listed_us or 0.0) + DAY_US)
    encoding = model_of(events_of([event(number, settled=True) for number in range(1, 8)], 6)).description.encoding
    one, other = first.history(source), second.history(source)
    assert one is not None
    assert other is not None
    found = [inputs_of(events_of([later], 6), history, encoding, "card").hashes() for history in (one, other)]
    return len(one) == len(other) and found[0] == found[1]


def fresh(tables: Tables) -> HistoryCache:
    memory = HistoryCache(tables, PROFILES)
    memory.refresh()
    return memory


def won_by(number: int, slot: int) -> EventFacts:
    found = event(number, settled=True)
    order = [slot, *(each for each in range(1, 7) if each != slot)]
    return found._replace(entries=[entry._replace(place=order.index(entry.slot) + 1) for entry in found.entries])


def test_what_settles_is_corrected_or_found_void_later_is_as_if_known_at_once() -> None:
    tables = Tables(*(event(number, settled=True) for number in range(1, 6)), event(6))
    memory = fresh(tables)

    tables.put(won_by(6, 3))
    memory.refresh()
    assert same(memory, fresh(tables))
    tables.put(won_by(2, 5))
    memory.refresh()
    assert same(memory, fresh(tables))
    tables.put(event(4)._replace(status="void"))
    memory.refresh()

    assert same(memory, fresh(tables))
    assert len(memory.history("made-up") or ()) == 5


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
def test_trouble_in_the_middle_leaves_nothing_half_remembered(calls: int) -> None:
    tables = Tables(*(event(number, settled=True) for number in range(1, 6)))
    memory = HistoryCache(tables, PROFILES)
    tables.put(won_by(3, 4))
    tables.away_in = calls

    for _ in range(3):
        try:
            memory.refresh()
            tables.put(won_by(1, 6))
        except TransientError:
            continue
    memory.refresh()

    assert same(memory, fresh(tables))


def test_sources_are_remembered_apart() -> None:
    other = event(2, settled=True)
    other = other._replace(event_key=other.event_key.replace("made-up", "made-down"))
    memory = fresh(Tables(event(1, settled=True), other))

    assert [len(memory.history(source) or ()) for source in ("made-up", "made-down")] == [1, 1]
    assert memory.history("elsewhere") is None


def test_a_source_has_the_profile_of_its_first_word() -> None:
    assert profile_of(PROFILES, "made-up") == profile_of(PROFILES, "made") == PROFILE
    assert profile_of(PROFILES, "mad") is None
    assert source_of("made-up:2030-03-01:01:01") == "made-up"


def test_what_settles_meanwhile_is_remembered_for_later_events(
    facts: PostgresFacts, shelf: Shelf, clock: SetClock, upcoming: list[Event], loaded: Connection
) -> None:
    predictor = Predictor(facts, shelf, clock, PARTS)
    predictor.handle([told_of(upcoming[0], "listed")])
    for each in upcoming[:6]:
        settle(loaded, each, winner=5)
    clock.at = upcoming[6].settled_at - timedelta(minutes=16)

    (told,) = predictor.handle([told_of(upcoming[-1], "observed")])

    (fresh,) = Predictor(facts, shelf, clock, PARTS).handle([told_of(upcoming[-1], "observed")])
    assert told == fresh
    assert len(predictor.history_cache.history(SOURCE) or ()) == 42
