"""All 260 recorded days of the real source: each anomaly occurs as often as expected.

The expected numbers were counted in the source's files by other means than this cleaner.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pytest

from services.cleaner.clean import Filtered, clean
from shared.events import Listed, Observed, Settled
from tests.services.cleaner.recorded import archived

pytestmark = [pytest.mark.recorded, pytest.mark.slow]


@dataclass
class Cards:
    events: int = 0
    sessions: set[str] = field(default_factory=set)
    entities: set[str] = field(default_factory=set)
    known: Counter[str] = field(default_factory=Counter)  # entries that have the measure
    dates_of_card: dict[str | None, set[str]] = field(default_factory=lambda: defaultdict(set))
    double_spaced: int = 0


@dataclass
class Previews:
    entries: int = 0
    filtered: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    without_wind_direction: int = 0


@dataclass
class Results:
    filtered: Counter[str] = field(default_factory=Counter)
    status: Counter[str] = field(default_factory=Counter)
    void: set[str] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    refunds: Counter[int] = field(default_factory=Counter)  # events by number of refunded entries
    rows: Counter[str] = field(default_factory=Counter)
    amounts: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    with_missing: int = 0
    missing_in_dead_heats: list[str] = field(default_factory=list)
    dead_heats: int = 0


@pytest.fixture(scope="module")
def cards() -> Cards:
    counts = Cards()
    for raw in archived("programs"):
        fact = clean(raw)
        assert isinstance(fact, Listed)
        counts.events += 1
        counts.sessions.add(fact.session.session_key)
        counts.entities.update(entry.entity.entity_key for entry in fact.entries if entry.entity)
        for entry in fact.entries:
            counts.known.update(entry.measures.keys())
        counts.dates_of_card[fact.card_key].add(str(fact.session.date))
        counts.double_spaced += "  " in f"{fact.session.title} {fact.title}"
    return counts


@pytest.fixture(scope="module")
def previews() -> Previews:
    counts = Previews()
    for raw in archived("previews"):
        fact = clean(raw)
        if isinstance(fact, Filtered):
            counts.filtered[fact.reason] += 1
            continue
        assert isinstance(fact, Observed)
        counts.entries += len(fact.entries)
        counts.without_wind_direction += fact.conditions.wind_direction is None
        for entry in fact.entries:
            counts.known.update(entry.measures.keys())
    return counts


def count(counts: Results, fact: Settled) -> None:
    counts.status[fact.status] += 1
    if fact.status == "void":
        counts.void.add(fact.event_key)
    places = [outcome.place for outcome in fact.outcomes if outcome.place is not None]
    dead_heat = len(set(places)) < len(places)
    counts.dead_heats += dead_heat
    counts.outcomes.update(placed=len(places), places=sum(places))
    counts.codes.update(outcome.code for outcome in fact.outcomes if outcome.code is not None)
    counts.refunds[sum(outcome.refunded for outcome in fact.outcomes)] += 1
    counts.outcomes["neither"] += sum(o.place is None and o.code is None for o in fact.outcomes)
    for transaction in fact.transactions:
        counts.rows[transaction.market] += 1
        counts.amounts[transaction.market] += transaction.amount
    if fact.missing_markets and dead_heat:
        counts.missing_in_dead_heats += [f"{fact.event_key} {market}" for market in fact.missing_markets]
    elif fact.missing_markets:
        counts.missing.update(fact.missing_markets)
        counts.with_missing += 1


@pytest.fixture(scope="module")
def results() -> Results:
    counts = Results()
    for raw in archived("results"):
        fact = clean(raw)
        if isinstance(fact, Filtered):
            counts.filtered[f"{raw.event_key} {fact.reason}"] += 1
        else:
            assert isinstance(fact, Settled)
            count(counts, fact)
    return counts


def test_every_card_is_listed(cards: Cards) -> None:
    assert (cards.events, len(cards.sessions), len(cards.entities)) == (39_360, 3_280, 1_614)


def test_no_title_keeps_two_spaces(cards: Cards) -> None:
    assert cards.double_spaced == 0


def test_every_postponed_card_keeps_its_card_key(cards: Cards) -> None:
    dates = Counter(len(days) for days in cards.dates_of_card.values())

    assert None not in cards.dates_of_card
    assert dates[2] + dates[3] == 217
    assert dates[1] + 2 * dates[2] + 3 * dates[3] == 39_360


def test_zero_points_are_unknown_and_zero_shares_beside_points_are_facts(cards: Cards) -> None:
    without_local = 236_160 - 23_764

    assert cards.known["local_points"] == without_local
    assert cards.known["local_top3_percent"] == without_local
    assert cards.known["average_start_timing_s"] == 236_160 - 3_987
    assert cards.known["weight_kg"] == 236_160


def test_every_preview_has_six_boats_and_no_boat_zero(previews: Previews) -> None:
    assert previews.entries == 6 * (39_360 - previews.filtered["nothing observed yet"])


def test_placeholder_weather_is_no_weather(previews: Previews) -> None:
    assert previews.without_wind_direction + previews.filtered.total() == 416


def test_zero_weights_are_unknown(previews: Previews) -> None:
    assert previews.known["weight_kg"] == 236_160 - 1_235


def test_every_result_has_its_status(results: Results) -> None:
    assert results.status == {"settled": 38_935, "void": 8, "cancelled": 416}


def test_the_half_published_result_is_no_fact(results: Results) -> None:
    assert results.filtered == {"boatrace:2025-08-16:24:12 half-published result": 1}


def test_exactly_these_races_are_void(results: Results) -> None:
    assert results.void == {
        "boatrace:2025-07-19:01:12",
        "boatrace:2025-08-05:13:02",
        "boatrace:2025-10-19:15:03",
        "boatrace:2025-11-10:09:07",
        "boatrace:2025-12-03:24:12",
        "boatrace:2025-12-22:09:05",
        "boatrace:2026-03-11:22:08",
        "boatrace:2026-03-20:17:02",
    }


def test_every_outcome_has_a_place_or_a_code_but_seven(results: Results) -> None:
    assert results.outcomes == {"placed": 230_366, "places": 798_817, "neither": 7}
    assert sum(code * entries for code, entries in results.codes.items()) == 36_905
    assert results.codes == {7: 198, 8: 213, 9: 1_157, 10: 334, 11: 24, 12: 79, 13: 8, 14: 790, 15: 26, 16: 456}


def test_refunds_are_derived_from_the_codes(results: Results) -> None:
    refunds = {boats: events for boats, events in results.refunds.items() if boats}

    assert refunds == {1: 895, 2: 116, 3: 25, 4: 10, 5: 6}
    assert sum(boats * events for boats, events in refunds.items()) == 1_272


def test_every_transaction_is_in_a_fact(results: Results) -> None:
    assert {market: (results.rows[market], results.amounts[market]) for market in results.rows} == {
        "trifecta": (38_933, 278_735_000),
        "trio": (38_905, 47_420_380),
        "exacta": (38_938, 70_024_960),
        "quinella": (38_924, 35_899_990),
        "quinella_place": (116_702, 41_764_330),
        "win": (38_921, 15_687_420),
        "place": (77_763, 18_162_240),
    }


def test_silently_missing_payout_rows_are_found(results: Results) -> None:
    assert results.missing == {"place": 88, "win": 15, "quinella_place": 8, "quinella": 3}
    assert results.with_missing == 109


def test_a_dead_heat_may_lack_a_row_too(results: Results) -> None:
    assert results.dead_heats == 29
    assert results.missing_in_dead_heats == ["boatrace:2026-02-07:10:05 place"]
