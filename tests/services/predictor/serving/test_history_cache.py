"""The cached history of each source equals that of its tables, also after errors."""

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
from tests.services.predictor.serving.loaded_events import DEPENDENCIES, loaded_record, settle
from tests.services.predictor.serving.replica import event
from tests.services.predictor.serving.small_serving_model import PROFILE, PROFILES, InMemoryRegistry, SetClock, model_of


class Tables:
    """Events that change; each change is a position."""

    def __init__(self, *events: EventFacts) -> None:
        self.rows = {each.event_key: each for each in events}
        self.changed: list[str] = []
        self.fails_in = 10**6

    def put(self, changed: EventFacts) -> None:
        self.rows[changed.event_key] = changed
        self.changed.append(changed.event_key)

    def settled(self) -> list[EventFacts]:
        self._count_call()
        return [each for each in self.rows.values() if each.status == "settled"]

    def changes(self, after: Position | None) -> Changes:
        self._count_call()
        at = len(self.changed)
        new = [] if after is None else self.changed[int(after.oldest) :]
        return Changes(
            tuple(EventChange(key, at, self.rows[key].status, 0.0) for key in sorted(set(new))), Position(str(at))
        )

    def events(self, event_keys: Sequence[str]) -> list[EventFacts]:
        self._count_call()
        return [self.rows[key] for key in event_keys]

    def _count_call(self) -> None:
        self.fails_in -= 1
        if self.fails_in == 0:
            raise TransientError("away")


def same_history(first: HistoryCache, second: HistoryCache, source: str = "made-up") -> bool:
    """Whether both give the same inputs for an event of the same entities a day later."""
    later = event(7)._replace(listed_us=(event(7).listed_us or 0.0) + DAY_US)
    encoding = model_of(events_of([event(number, settled=True) for number in range(1, 8)], 6)).description.encoding
    one, other = first.history(source), second.history(source)
    assert one is not None
    assert other is not None
    hashes = [inputs_of(events_of([later], 6), history, encoding, "card").hashes() for history in (one, other)]
    return len(one) == len(other) and hashes[0] == hashes[1]


def fresh_cache(tables: Tables) -> HistoryCache:
    cache = HistoryCache(tables, PROFILES)
    cache.refresh()
    return cache


def won_by(number: int, slot: int) -> EventFacts:
    facts = event(number, settled=True)
    order = [slot, *(each for each in range(1, 7) if each != slot)]
    return facts._replace(entries=[entry._replace(place=order.index(entry.slot) + 1) for entry in facts.entries])


def test_results_corrections_and_voids_give_the_history_of_a_new_cache() -> None:
    tables = Tables(*(event(number, settled=True) for number in range(1, 6)), event(6))
    cache = fresh_cache(tables)

    tables.put(won_by(6, 3))
    cache.refresh()
    assert same_history(cache, fresh_cache(tables))
    tables.put(won_by(2, 5))
    cache.refresh()
    assert same_history(cache, fresh_cache(tables))
    tables.put(event(4)._replace(status="void"))
    cache.refresh()

    assert same_history(cache, fresh_cache(tables))
    assert len(cache.history("made-up") or ()) == 5


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
def test_an_error_during_a_refresh_leaves_no_partial_history(calls: int) -> None:
    tables = Tables(*(event(number, settled=True) for number in range(1, 6)))
    cache = HistoryCache(tables, PROFILES)
    tables.put(won_by(3, 4))
    tables.fails_in = calls

    for _ in range(3):
        try:
            cache.refresh()
            tables.put(won_by(1, 6))
        except TransientError:
            continue
    cache.refresh()

    assert same_history(cache, fresh_cache(tables))


def test_each_source_has_its_own_history() -> None:
    other = event(2, settled=True)
    other = other._replace(event_key=other.event_key.replace("made-up", "made-down"))
    cache = fresh_cache(Tables(event(1, settled=True), other))

    assert [len(cache.history(source) or ()) for source in ("made-up", "made-down")] == [1, 1]
    assert cache.history("elsewhere") is None


def test_a_source_has_the_profile_of_its_first_word() -> None:
    assert profile_of(PROFILES, "made-up") == profile_of(PROFILES, "made") == PROFILE
    assert profile_of(PROFILES, "mad") is None
    assert source_of("made-up:2030-03-01:01:01") == "made-up"


def test_results_that_arrive_meanwhile_count_for_later_predictions(
    facts: PostgresFacts, registry: InMemoryRegistry, clock: SetClock, upcoming: list[Event], loaded: Connection
) -> None:
    predictor = Predictor(facts, registry, clock, DEPENDENCIES)
    predictor.handle([loaded_record(upcoming[0], "listed")])
    for each in upcoming[:6]:
        settle(loaded, each, winner=5)
    clock.at = upcoming[6].settled_at - timedelta(minutes=16)

    (actual,) = predictor.handle([loaded_record(upcoming[-1], "observed")])

    (expected,) = Predictor(facts, registry, clock, DEPENDENCIES).handle([loaded_record(upcoming[-1], "observed")])
    assert actual == expected
    assert len(predictor.history_cache.history(SOURCE) or ()) == 42
