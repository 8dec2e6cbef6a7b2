"""Results from the results feed, their status and irregularities, with synthetic races."""

from typing import Any

import pytest

from services.cleaner.clean import Filtered, clean
from shared.errors import InvalidEvent
from shared.events import Settled
from tests.services.cleaner.synthetic_slices import (
    NO_PAYOUTS,
    PUBLISHED_AT,
    WEATHER,
    Json,
    blank_result,
    null_boat,
    payouts,
    payouts_123,
    raw,
    result,
    result_boat,
)


def settled(*places: int | None, historical: bool = False, **changes: Any) -> Settled:
    fact = clean(raw("results", result(*places, **changes), historical=historical))
    assert isinstance(fact, Settled)
    return fact


def boats(*places: int | None) -> list[Json]:
    return [result_boat(number, place) for number, place in enumerate(places, start=1)]


def with_zero_racer(body: Json) -> Json:
    """The result while the source is still writing it: boat 3 has racer number 0 and no other value."""
    body["boats"][2] = null_boat(body["boats"][2]) | {"racer_number": 0}
    return body


def test_a_result_becomes_a_complete_fact() -> None:
    fact = settled()

    assert (fact.status, fact.technique, fact.conditions.wind_m_s) == ("settled", 1, 3)
    assert [(o.slot, o.place, o.code, o.entity_key) for o in fact.outcomes][:2] == [
        (1, 1, None, "boatrace:7001"),
        (2, 2, None, "boatrace:7002"),
    ]
    assert (fact.outcomes[0].course, fact.outcomes[0].start_timing_s) == (1, 0.11)
    assert fact.missing_markets == ()


def test_transactions_keep_selection_amount_and_order_within_their_market() -> None:
    rows = [(t.market, t.selection, t.amount, t.ordinal) for t in settled().transactions]

    assert rows[:3] == [("trifecta", "1-2-3", 1230, 1), ("trio", "1=2=3", 410, 1), ("exacta", "1-2", 520, 1)]
    assert [row[1:] for row in rows if row[0] == "quinella_place"] == [
        ("1=2", 150, 1),
        ("1=3", 210, 2),
        ("2=3", 340, 3),
    ]


def test_a_duplicate_payout_row_counts_once() -> None:
    duplicate = payouts_123()
    duplicate["win"] = duplicate["win"] * 2

    assert settled(payouts=duplicate) == settled()


@pytest.mark.parametrize("code", range(7, 17))
def test_a_place_code_is_no_place(code: int) -> None:
    outcome = settled(1, 2, 3, 4, 5, code).outcomes[5]

    assert (outcome.place, outcome.code) == (None, code)


@pytest.mark.parametrize(("code", "refunded"), [(13, False), (14, True), (15, True), (16, True)])
def test_stakes_on_false_starts_late_starts_and_absent_boats_are_refunded(code: int, refunded: bool) -> None:
    assert settled(1, 2, 3, 4, 5, code).outcomes[5].refunded is refunded


def test_a_racer_number_of_zero_is_an_unknown_entity() -> None:
    body = boats(1, 2, 3, 4, 5, 6)
    body[2]["racer_number"] = 0

    assert settled(boats=body).outcomes[2].entity_key is None


def test_boat_zero_is_no_boat() -> None:
    assert settled(boats=[{"racer_boat_number": 0}, *boats(1, 2, 3, 4, 5, 6)]) == settled()


DEAD_HEATS = {
    "first": (
        (1, 1, 3, 4, 5, 6),
        payouts(
            trifecta=[("1-2-3", 900), ("2-1-3", 950)],
            trio=[("1=2=3", 410)],
            exacta=[("1-2", 260), ("2-1", 270)],
            quinella=[("1=2", 330)],
            quinella_place=[("1=2", 150), ("1=3", 210), ("2=3", 340)],
            win=[("1", 110), ("2", 120)],
            place=[("1", 110), ("2", 120)],
        ),
    ),
    "second": (
        (1, 2, 2, 4, 5, 6),
        payouts(
            trifecta=[("1-2-3", 900), ("1-3-2", 950)],
            trio=[("1=2=3", 410)],
            exacta=[("1-2", 260), ("1-3", 270)],
            quinella=[("1=2", 330), ("1=3", 350)],
            quinella_place=[("1=2", 150), ("1=3", 210), ("2=3", 340)],
            win=[("1", 110)],
            place=[("1", 110), ("2", 120), ("3", 130)],
        ),
    ),
    "third": (
        (1, 2, 3, 3, 5, 6),
        payouts(
            trifecta=[("1-2-3", 900), ("1-2-4", 950)],
            trio=[("1=2=3", 410), ("1=2=4", 430)],
            exacta=[("1-2", 260)],
            quinella=[("1=2", 330)],
            quinella_place=[("1=2", 150), ("1=3", 210), ("2=3", 340), ("1=4", 220), ("2=4", 350)],
            win=[("1", 110)],
            place=[("1", 110), ("2", 120)],
        ),
    ),
    "fifth": ((1, 2, 3, 4, 5, 5), payouts_123()),
}


@pytest.mark.parametrize(("places", "paid"), DEAD_HEATS.values(), ids=DEAD_HEATS.keys())
def test_a_dead_heat_pays_for_every_possible_order(places: tuple[int, ...], paid: Json) -> None:
    fact = settled(*places, payouts=paid)

    assert (fact.status, fact.missing_markets) == ("settled", ())
    assert tuple(outcome.place for outcome in fact.outcomes) == places


def without(*markets: str) -> Json:
    return payouts_123() | {market: [] for market in markets}


SHAPES = {
    "four starters": ((1, 2, 3, 4, 14, 16), payouts_123()),
    "three starters": ((1, 2, 3, 14, 15, 16), without("trio", "quinella_place")),
    "two starters": ((1, 2, 14, 14, 14, 14), without("trifecta", "trio", "quinella", "quinella_place", "place")),
    "two of six finish": (
        (1, 2, 9, 9, 10, 12),
        without("trifecta", "trio") | {"quinella_place": [{"combination": "1=2", "payout": 150}]},
    ),
}


@pytest.mark.parametrize(("places", "paid"), SHAPES.values(), ids=SHAPES.keys())
def test_cancelled_markets_are_not_missing(places: tuple[int, ...], paid: Json) -> None:
    assert settled(*places, payouts=paid).missing_markets == ()


def test_an_expected_payout_row_that_is_absent_is_missing() -> None:
    assert settled(payouts=without("win")).missing_markets == ("win",)


def test_a_market_is_named_once_for_each_missing_row() -> None:
    one_of_three = without("quinella_place", "place") | {"quinella_place": [{"combination": "1=3", "payout": 210}]}

    assert settled(payouts=one_of_three).missing_markets == ("quinella_place", "quinella_place", "place", "place")


FIVE_FALSE_STARTS = (14, 14, 14, 14, 14, None)
NO_FINISHERS = (9, 7, 8, 10, 12, 9)


@pytest.mark.parametrize("places", [FIVE_FALSE_STARTS, NO_FINISHERS])
@pytest.mark.parametrize("historical", [True, False])
def test_a_race_without_finishers_is_void(places: tuple[int | None, ...], historical: bool) -> None:
    fact = settled(*places, payouts=NO_PAYOUTS, race_technique_number=None, historical=historical)

    assert fact.status == "void"
    assert [outcome.slot for outcome in fact.outcomes] == [1, 2, 3, 4, 5, 6]


def test_a_live_race_with_an_open_outcome_is_provisional() -> None:
    marks = (9, 7, 8, 10, None, 9)

    assert settled(*marks, payouts=NO_PAYOUTS, historical=False).status == "provisional"
    assert settled(*marks, payouts=NO_PAYOUTS, historical=True).status == "void"


def test_an_archived_race_without_any_result_is_cancelled() -> None:
    fact = clean(raw("results", blank_result(), historical=True))

    assert isinstance(fact, Settled)
    assert (fact.status, fact.outcomes, fact.transactions) == ("cancelled", (), ())


def test_a_live_race_without_any_result_is_filtered() -> None:
    assert clean(raw("results", blank_result())) == Filtered("no result yet")


def test_a_result_that_becomes_blank_is_passed_on_so_that_the_regression_is_counted() -> None:
    fact = clean(raw("results", blank_result(), ordinal=3))

    assert isinstance(fact, Settled)
    assert (fact.status, fact.outcomes, fact.transactions) == ("provisional", (), ())


@pytest.mark.parametrize("historical", [True, False])
@pytest.mark.parametrize("body", [with_zero_racer(blank_result()), blank_result(**WEATHER)], ids=["racer 0", "weather"])
def test_a_half_published_page_is_no_cancellation(body: Json, historical: bool) -> None:
    assert clean(raw("results", body, historical=historical)) == Filtered("half-published result")


def test_places_without_payouts_are_provisional() -> None:
    fact = settled(payouts=NO_PAYOUTS)

    assert (fact.status, len(fact.outcomes), fact.missing_markets) == ("provisional", 6, ())


def test_payouts_without_places_are_provisional() -> None:
    fact = clean(raw("results", with_zero_racer(blank_result(payouts=payouts_123()))))

    assert isinstance(fact, Settled)
    assert (fact.status, fact.outcomes, len(fact.transactions)) == ("provisional", (), 10)


def test_a_result_with_a_boat_still_unknown_is_provisional() -> None:
    assert settled(boats=[*boats(1, 2, 3, 4, 5), null_boat(result_boat(6, None))]).status == "provisional"


def test_a_live_result_is_known_since_it_was_published() -> None:
    assert (settled().known_at, settled().known_after_s) == (PUBLISHED_AT, None)


def test_an_archived_result_counts_as_known_15_minutes_after_the_deadline() -> None:
    fact = settled(historical=True)

    assert (fact.known_at, fact.known_after_s) == (None, 900)


def payouts_with(market: str, *rows: Any) -> Json:
    return {"payouts": payouts_123() | {market: list(rows)}}


IMPOSSIBLE = {
    "place 99": {"boats": boats(1, 2, 3, 4, 5, 99)},
    "place 0": {"boats": boats(1, 2, 3, 4, 5, 0)},
    "a place that is a text": {"boats": [*boats(1, 2, 3, 4, 5), result_boat(6, None, racer_place_number="6")]},
    "two winners and a second": {"boats": boats(1, 1, 2, 3, 4, 5)},
    "no winner": {"boats": boats(2, 3, 4, 5, 6, 7)},
    "slot 9": {"boats": [*boats(1, 2, 3, 4, 5), result_boat(6, 6, racer_boat_number=9)]},
    "a start a minute late": {"boats": [*boats(1, 2, 3, 4, 5), result_boat(6, 6, racer_start_timing=60)]},
    "technique 7": {"race_technique_number": 7},
    "payouts that are an array": {"payouts": []},
    "an unknown market": {"payouts": payouts_123() | {"superfecta": []}},
    "missing markets": {"payouts": {"win": []}},
    "rows that are an object": {"payouts": payouts_123() | {"win": {}}},
    "a row that is a number": payouts_with("win", 160),
    "a negative amount": payouts_with("win", {"combination": "1", "payout": -160}),
    "an amount below the stake": payouts_with("win", {"combination": "1", "payout": 10}),
    "an amount with a fraction": payouts_with("win", {"combination": "1", "payout": 160.0}),
    "an amount that is a text": payouts_with("win", {"combination": "1", "payout": "160"}),
    "no amount": payouts_with("win", {"combination": "1", "payout": None}),
    "a boat that does not exist": payouts_with("win", {"combination": "7", "payout": 160}),
    "a boat twice": payouts_with("exacta", {"combination": "1-1", "payout": 160}),
    "unordered written as ordered": payouts_with("trio", {"combination": "1-2-3", "payout": 410}),
    "unordered not ascending": payouts_with("trio", {"combination": "2=1=3", "payout": 410}),
    "two amounts for one selection": payouts_with(
        "win", {"combination": "1", "payout": 160}, {"combination": "1", "payout": 170}
    ),
    "a winner that did not win": payouts_with("win", {"combination": "2", "payout": 160}),
}


@pytest.mark.parametrize("changes", IMPOSSIBLE.values(), ids=IMPOSSIBLE.keys())
def test_an_impossible_result_is_refused(changes: Json) -> None:
    with pytest.raises(InvalidEvent, match=r"^results of .*expected .*, got "):
        clean(raw("results", result(**changes)))
