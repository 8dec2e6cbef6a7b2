"""The versions published on 2026-01-31, in their order: the results during the day."""

from collections import Counter

import pytest

from services.cleaner.clean import Filtered, clean
from shared.events import Listed, Settled
from tests.services.cleaner.recorded import live

pytestmark = pytest.mark.recorded
Cleaned = list[tuple[int, str, Listed | Settled | Filtered]]
PHANTOM_BLANK_SEQ = 6


@pytest.fixture(scope="module")
def cleaned() -> Cleaned:
    """All feeds except previews: (seq, event key, fact or the reason for which it is filtered)."""
    cleaned: Cleaned = []
    for seq, raw in live():
        fact = clean(raw)
        if isinstance(fact, Listed | Settled | Filtered) and raw.feed != "previews":
            cleaned.append((seq, raw.event_key, fact))
    return cleaned


def test_every_result_page_of_the_day_has_its_status(cleaned: Cleaned) -> None:
    status = Counter(
        fact.reason if isinstance(fact, Filtered) else fact.status
        for _, _, fact in cleaned
        if not isinstance(fact, Listed)
    )

    assert status == {"no result yet": 1_040, "half-published result": 30, "provisional": 62, "settled": 2_048}


def test_at_the_end_of_the_day_every_event_is_settled(cleaned: Cleaned) -> None:
    last = {key: fact for _, key, fact in cleaned if isinstance(fact, Settled) and ":2026-01-31:" in key}

    assert Counter(fact.status for fact in last.values()) == {"settled": 168}


def test_no_event_is_void_or_cancelled_while_the_day_runs(cleaned: Cleaned) -> None:
    assert not [key for _, key, fact in cleaned if isinstance(fact, Settled) and fact.status in ("void", "cancelled")]


def test_payouts_before_places_and_places_before_payouts_are_provisional(cleaned: Cleaned) -> None:
    race = [(seq, fact) for seq, key, fact in cleaned if key == "boatrace:2026-01-31:07:04"]
    status = {seq: fact.status for seq, fact in race if isinstance(fact, Settled)}

    assert status[30] == "provisional"
    assert {status[seq] for seq in status if 32 <= seq <= 45} == {"provisional"}
    assert {status[seq] for seq in status if seq >= 47} == {"settled"}


def test_a_correction_reaches_the_fact(cleaned: Cleaned) -> None:
    timings = [
        fact.outcomes[4].start_timing_s
        for _, key, fact in cleaned
        if key == "boatrace:2026-01-31:13:10" and isinstance(fact, Settled)
    ]

    assert list(dict.fromkeys(timings)) == [0.25, 0.15]


def test_cards_that_turn_null_stay_listed_and_come_back(cleaned: Cleaned) -> None:
    unknown = Counter[int]()
    for seq, _, fact in cleaned:
        if isinstance(fact, Listed):
            unknown[seq] += sum(entry.entity is None for entry in fact.entries)

    assert {seq: entries for seq, entries in unknown.items() if entries} == {6: 120}


def test_a_live_fact_is_known_since_its_publication(cleaned: Cleaned) -> None:
    assert not [key for _, key, fact in cleaned if not isinstance(fact, Filtered) and fact.known_at is None]
