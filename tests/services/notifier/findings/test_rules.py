"""The rules, on synthetic messages and facts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.notifier.findings.finding import (
    BigPayout,
    EventDetails,
    Finding,
    GradeResult,
    Payout,
    SessionDetails,
    Surprise,
    Tip,
    finding_id,
)
from services.notifier.findings.rules import (
    called_off_findings,
    daily_rules,
    event_findings,
    event_markets,
    find_candidates,
    is_day_complete,
)
from services.notifier.rules.rule_book import NamedRule, RuleBook
from shared.errors import InvalidEvent
from shared.events import Prediction, RawEvent
from shared.records import DecodedRecord
from tests.services.notifier.books import book_of, default_book
from tests.services.notifier.samples import (
    DAY,
    NOW,
    SOURCE,
    decoded_record,
    event,
    key,
    loaded_event,
    prediction,
    session,
)

RULES = default_book()
LONG_AGO = NOW - timedelta(hours=24, seconds=1)


def tip_findings(predictions: list[Prediction], event: EventDetails, book: RuleBook = RULES) -> list[Finding]:
    return [each.finding for each in event_findings(event, predictions, False, book)]


def result_findings(event: EventDetails, book: RuleBook = RULES) -> list[Finding]:
    return [each.finding for each in event_findings(event, [], True, book)]


def selecting_rules(event: EventDetails, book: RuleBook, *predictions: Prediction) -> list[str]:
    return [each.rule for each in event_findings(event, predictions, True, book)]


def only_rule(book: RuleBook) -> NamedRule:
    (rule,) = book.rules
    return rule


def called_off(session: SessionDetails, **rule: Any) -> list[Finding]:
    return called_off_findings(session, only_rule(book_of(called_off={"finding": "called-off", **rule})))


def test_a_clear_favourite_of_an_event_to_come_is_a_tip() -> None:
    favourite = prediction(0.05, 0.75, 0.2)

    candidates = find_candidates([decoded_record(favourite)], NOW, RULES)

    assert candidates.tip_predictions == {key(1): [favourite]}
    (tip,) = tip_findings([favourite], event(status="observed"))
    assert isinstance(tip, Tip)
    assert (tip.slot, tip.probability) == (2, 0.75)


@pytest.mark.parametrize(
    "changes",
    [{"scheduled_at": NOW}, {"scheduled_at": None}, {"shadow": True}, {"as_of": LONG_AGO}, {"scheduled_at": LONG_AGO}],
    ids=["started", "start unknown", "shadow", "known long ago", "started long ago"],
)
def test_a_prediction_that_is_too_late_or_a_shadows_is_no_tip(changes: dict[str, Any]) -> None:
    assert not find_candidates([decoded_record(prediction(0.9, 0.1, **changes))], NOW, RULES)


def test_a_favourite_below_the_threshold_is_no_tip() -> None:
    assert not find_candidates([decoded_record(prediction(0.749, 0.251))], NOW, RULES)


def test_a_tip_from_a_state_that_is_not_selected_is_left_out() -> None:
    rules = book_of(tip={"finding": "tip", "states": ("observation",)})

    assert not find_candidates([decoded_record(prediction(0.9, 0.1, state="card"))], NOW, rules)


def test_an_event_that_ended_meanwhile_gives_no_tip() -> None:
    assert tip_findings([prediction(0.9, 0.1)], event(status="cancelled")) == []


def test_the_same_favourite_has_one_finding_id_and_another_has_a_new_one() -> None:
    facts = event(status="observed")
    card, observed, other = tip_findings(
        [prediction(0.8, 0.2, state="card"), prediction(0.9, 0.1), prediction(0.1, 0.9)], facts
    )

    assert finding_id(card) == finding_id(observed)
    assert finding_id(card) != finding_id(other)


def test_a_replay_has_no_candidates() -> None:
    batch = [decoded_record(loaded_event(), revision="job-1"), decoded_record(prediction(0.9, 0.1), revision="job-1")]

    assert not find_candidates(batch, NOW, RULES)


@pytest.mark.parametrize("changes", [{"known_at": LONG_AGO}, {"scheduled_at": LONG_AGO}])
def test_history_causes_no_notification(changes: dict[str, Any]) -> None:
    assert not find_candidates([decoded_record(loaded_event(**changes))], NOW, RULES)


def test_a_fact_that_is_exactly_a_day_old_is_a_candidate() -> None:
    day_old = loaded_event(known_at=NOW - timedelta(hours=24), scheduled_at=NOW - timedelta(hours=24))

    assert find_candidates([decoded_record(day_old)], NOW, RULES).event_keys == [key(1)]


@pytest.mark.parametrize(
    "changes", [{"status": "provisional"}, {"kind": "listed"}, {"kind": "observed", "status": "observed"}]
)
def test_an_event_that_is_not_settled_yet_is_no_candidate(changes: dict[str, Any]) -> None:
    assert not find_candidates([decoded_record(loaded_event(**changes))], NOW, RULES)


def test_events_sessions_and_days_are_candidates_once() -> None:
    batch = [decoded_record(loaded_event(1)), decoded_record(loaded_event(1, version=2))]
    batch += [decoded_record(loaded_event(number, status="cancelled")) for number in (2, 3)]

    candidates = find_candidates(batch, NOW, RULES)

    assert list(candidates.settled_events) == [key(1)]
    assert list(candidates.cancelled_sessions) == [f"{SOURCE}:{DAY}:07"]
    assert list(candidates.ended_days) == [(SOURCE, DAY)]


def test_a_message_of_another_topic_is_an_error() -> None:
    raw = RawEvent(
        source=SOURCE,
        feed="results",
        event_key=key(1),
        ordinal=1,
        document_hash="d",
        url="u",
        fetched_at=NOW,
        historical=False,
        body={},
    )

    with pytest.raises(InvalidEvent, match="RawEvent"):
        find_candidates(
            [DecodedRecord(raw, decoded_record(loaded_event()).event_id, "0", decoded_record(loaded_event()).record)],
            NOW,
            RULES,
        )


def test_a_payout_of_500_times_the_stake_is_a_finding() -> None:
    (finding,) = result_findings(event(payouts=(Payout("2-1-3", 50_000),)))

    assert isinstance(finding, BigPayout)
    assert finding.payout.amount == 50_000


def test_a_smaller_payout_is_no_finding() -> None:
    assert result_findings(event(payouts=(Payout("2-1-3", 49_999),))) == []


def test_the_highest_payout_of_a_dead_heat_is_a_finding() -> None:
    (finding,) = result_findings(event(payouts=(Payout("2-1-3", 60_000), Payout("1-2-3", 70_000))))

    assert isinstance(finding, BigPayout)
    assert finding.payout.selection == "1-2-3"


def test_a_corrected_payout_has_a_new_finding_id() -> None:
    first, repeated, corrected = (
        finding_id(result_findings(event(payouts=(Payout("2-1-3", amount),)), RULES)[0])
        for amount in (60_000, 60_000, 61_000)
    )

    assert first == repeated
    assert first != corrected


@pytest.mark.parametrize(
    ("grade", "number", "is_finding"), [(1, 12, True), (2, 12, True), (3, 12, False), (None, 12, False), (1, 11, False)]
)
def test_the_final_of_a_high_grade_is_a_finding(grade: int | None, number: int, is_finding: bool) -> None:
    finding = result_findings(event(session=session(grade=grade), number=number))

    assert [type(finding) for finding in finding] == ([GradeResult] if is_finding else [])


def test_a_winner_with_a_low_probability_is_a_surprise() -> None:
    (finding,) = result_findings(event(win_probabilities={1: 0.9, 2: 0.0499}))

    assert isinstance(finding, Surprise)
    assert (finding.slot, finding.probability) == (2, 0.0499)


@pytest.mark.parametrize(
    "changes",
    [
        {"win_probabilities": {1: 0.9, 2: 0.05}},
        {"win_probabilities": {}},
        {"win_probabilities": {1: 0.01, 2: 0.01}, "places": ((1, 1), (1, 2))},
    ],
    ids=["probable enough", "not predicted", "dead heat"],
)
def test_other_winners_are_no_surprise(changes: dict[str, Any]) -> None:
    assert result_findings(event(**changes)) == []


def test_a_voided_result_is_no_finding() -> None:
    assert result_findings(event(status="void", payouts=(Payout("2-1-3", 90_000),))) == []


def test_a_cancelled_session_has_one_finding_id_for_any_number_of_events() -> None:
    (first,) = called_off(session(events=12, called_off_numbers=(11, 12)))
    (second,) = called_off(session(events=12, called_off_numbers=(10, 11, 12)))

    assert finding_id(first) == finding_id(second)
    assert called_off(session(events=12)) == []


@pytest.mark.parametrize(
    ("statuses", "complete"),
    [
        ({"settled": 10, "void": 1, "cancelled": 1}, True),
        ({"postponed": 12}, True),
        ({"settled": 11, "observed": 1}, False),
        ({"settled": 11, "provisional": 1}, False),
        ({}, False),
    ],
)
def test_a_day_is_complete_when_no_event_is_open(statuses: dict[str, int], complete: bool) -> None:
    assert is_day_complete(statuses) is complete


def test_several_rules_select_the_same_finding() -> None:
    book = book_of(
        low={"finding": "tip", "threshold": 0.5},
        high={"finding": "tip", "threshold": 0.9},
        cards={"finding": "tip", "threshold": 0.5, "states": ("card",)},
    )

    assert selecting_rules(event(status="observed"), book, prediction(0.6, 0.4)) == ["low"]
    assert selecting_rules(event(status="observed"), book, prediction(0.95, 0.05, state="card")) == [
        "low",
        "high",
        "cards",
    ]


def test_a_prediction_is_a_candidate_if_any_rule_is_about_it() -> None:
    book = book_of(high={"finding": "tip", "threshold": 0.9}, low={"finding": "tip", "threshold": 0.5})

    assert find_candidates([decoded_record(prediction(0.6, 0.4))], NOW, book)
    assert not find_candidates([decoded_record(prediction(0.6, 0.4))], NOW, book_of())


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ({"venues": (6, 7)}, True),
        ({"venues": (6,)}, False),
        ({"sources": (SOURCE,)}, True),
        ({"sources": ("pond",)}, False),
        ({"entities": ("river:2", "river:9")}, True),
        ({"entities": ("river:9",)}, False),
        ({"grades": (1,)}, True),
        ({"grades": (2, 3)}, False),
        ({"venues": (7,), "grades": (3,)}, False),
    ],
)
@pytest.mark.parametrize("kind", ["tip", "big-payout", "grade", "surprise"])
def test_filters_decide_about_findings_of_events(kind: str, filters: dict[str, Any], passes: bool) -> None:
    book = book_of(each={"finding": kind, **filters})
    about = {"number": 12, "entities": frozenset({"river:1", "river:2"}), "session": session(grade=1)}
    before = event(status="observed", **about)
    after = event(win_probabilities={1: 0.99, 2: 0.01}, payouts=(Payout("2-1-3", 60_000),), **about)

    assert selecting_rules(before if kind == "tip" else after, book, prediction(0.9, 0.1)) == (
        ["each"] if passes else []
    )


def test_a_rule_names_the_markets_of_its_payouts() -> None:
    book = book_of(
        default={"finding": "big-payout", "threshold": 100},
        exacta={"finding": "big-payout", "threshold": 100, "markets": ("exacta", "win")},
    )
    payouts = (Payout("2-1-3", 900), Payout("2-1", 300, "exacta"), Payout("2", 90, "win"))

    assert event_markets(book) == ["exacta", "trifecta", "win"]
    assert selecting_rules(event(payouts=payouts), book) == ["default", "exacta"]
    found_payouts = [each for each in result_findings(event(payouts=payouts), book) if isinstance(each, BigPayout)]
    assert [each.payout.market for each in found_payouts] == ["trifecta", "exacta"]


@pytest.mark.parametrize(("threshold", "grade", "is_finding"), [(1, 1, True), (1, 2, False), (3, 3, True)])
def test_the_threshold_of_a_grade_is_its_highest_number(threshold: int, grade: int, is_finding: bool) -> None:
    book = book_of(grade={"finding": "grade", "threshold": threshold})

    assert bool(result_findings(event(session=session(grade=grade), number=12), book)) is is_finding


def test_filters_decide_about_called_off_sessions() -> None:
    two_of_twelve = session(events=12, called_off_numbers=(11, 12), grade=1)

    assert called_off(two_of_twelve, venues=(7,), threshold=2)
    assert not called_off(two_of_twelve, venues=(6,))
    assert not called_off(two_of_twelve, threshold=3)
    assert not called_off(two_of_twelve, sources=("pond",))
    assert not called_off(two_of_twelve, grades=(2,))


def test_a_daily_summary_is_for_its_sources() -> None:
    book = book_of(all={"finding": "daily"}, pond={"finding": "daily", "sources": ("pond",)})

    assert [rule.name for rule in daily_rules(SOURCE, book)] == ["all"]
    assert [rule.name for rule in daily_rules("pond", book)] == ["all", "pond"]
