"""The rules, on hand-made messages and facts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.notifier.findings import BigPayout, GradeResult, Payout, Surprise, Tip, finding_id
from services.notifier.rules import (
    Rules,
    called_off_findings,
    find_candidates,
    is_day_complete,
    result_findings,
    tip_findings,
)
from shared.errors import InvalidEvent
from shared.events import RawEvent
from shared.records import DecodedRecord
from tests.services.notifier.samples import DAY, NOW, SOURCE, event, key, loaded, prediction, received, session

RULES = Rules()
LONG_AGO = NOW - timedelta(hours=24, seconds=1)


def test_a_clear_favourite_of_an_event_to_come_is_a_tip() -> None:
    favourite = prediction(0.05, 0.75, 0.2)

    found = find_candidates([received(favourite)], NOW, RULES)

    assert found.tip_predictions == {key(1): [favourite]}
    (tip,) = tip_findings([favourite], event(status="observed"))
    assert isinstance(tip, Tip)
    assert (tip.slot, tip.probability) == (2, 0.75)


@pytest.mark.parametrize(
    "changes",
    [{"scheduled_at": NOW}, {"scheduled_at": None}, {"shadow": True}, {"as_of": LONG_AGO}, {"scheduled_at": LONG_AGO}],
    ids=["started", "start unknown", "shadow", "known long ago", "started long ago"],
)
def test_a_favourite_that_helps_nobody_is_no_tip(changes: dict[str, Any]) -> None:
    assert not find_candidates([received(prediction(0.9, 0.1, **changes))], NOW, RULES)


def test_a_favourite_below_the_threshold_is_no_tip() -> None:
    assert not find_candidates([received(prediction(0.749, 0.251))], NOW, RULES)


def test_a_tip_from_a_state_that_is_not_asked_for_is_left_out() -> None:
    rules = Rules(tip_states=("observation",))

    assert not find_candidates([received(prediction(0.9, 0.1, state="card"))], NOW, rules)


def test_an_event_that_ended_meanwhile_gives_no_tip() -> None:
    assert tip_findings([prediction(0.9, 0.1)], event(status="cancelled")) == []


def test_the_same_favourite_is_one_piece_of_news_and_another_one_is_new() -> None:
    facts = event(status="observed")
    card, observed, other = tip_findings(
        [prediction(0.8, 0.2, state="card"), prediction(0.9, 0.1), prediction(0.1, 0.9)], facts
    )

    assert finding_id(card) == finding_id(observed)
    assert finding_id(card) != finding_id(other)


def test_nothing_is_told_for_a_replay() -> None:
    batch = [received(loaded(), revision="job-1"), received(prediction(0.9, 0.1), revision="job-1")]

    assert not find_candidates(batch, NOW, RULES)


@pytest.mark.parametrize("changes", [{"known_at": LONG_AGO}, {"scheduled_at": LONG_AGO}])
def test_nothing_is_told_for_history(changes: dict[str, Any]) -> None:
    assert not find_candidates([received(loaded(**changes))], NOW, RULES)


def test_a_fact_a_day_old_to_the_second_is_still_news() -> None:
    day_old = loaded(known_at=NOW - timedelta(hours=24), scheduled_at=NOW - timedelta(hours=24))

    assert find_candidates([received(day_old)], NOW, RULES).event_keys == [key(1)]


@pytest.mark.parametrize(
    "changes", [{"status": "provisional"}, {"kind": "listed"}, {"kind": "observed", "status": "observed"}]
)
def test_an_event_that_is_not_settled_yet_gives_nothing(changes: dict[str, Any]) -> None:
    assert not find_candidates([received(loaded(**changes))], NOW, RULES)


def test_events_sessions_and_days_are_named_once() -> None:
    batch = [received(loaded(1)), received(loaded(1, version=2))]
    batch += [received(loaded(number, status="cancelled")) for number in (2, 3)]

    found = find_candidates(batch, NOW, RULES)

    assert list(found.settled_events) == [key(1)]
    assert list(found.cancelled_sessions) == [f"{SOURCE}:{DAY}:07"]
    assert list(found.ended_days) == [(SOURCE, DAY)]


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
        find_candidates([DecodedRecord(raw, received(loaded()).event_id, "0", received(loaded()).record)], NOW, RULES)


def test_a_payout_of_500_times_the_stake_is_told() -> None:
    (found,) = result_findings(event(payouts=(Payout("2-1-3", 50_000),)), RULES)

    assert isinstance(found, BigPayout)
    assert found.payout.amount == 50_000


def test_a_smaller_payout_is_not_told() -> None:
    assert result_findings(event(payouts=(Payout("2-1-3", 49_999),)), RULES) == []


def test_of_a_dead_heats_payouts_the_highest_is_told() -> None:
    (found,) = result_findings(event(payouts=(Payout("2-1-3", 60_000), Payout("1-2-3", 70_000))), RULES)

    assert isinstance(found, BigPayout)
    assert found.payout.selection == "1-2-3"


def test_a_corrected_payout_is_news_again() -> None:
    first, repeated, corrected = (
        finding_id(result_findings(event(payouts=(Payout("2-1-3", amount),)), RULES)[0])
        for amount in (60_000, 60_000, 61_000)
    )

    assert first == repeated
    assert first != corrected


@pytest.mark.parametrize(
    ("grade", "number", "told"), [(1, 12, True), (2, 12, True), (3, 12, False), (None, 12, False), (1, 11, False)]
)
def test_the_final_of_a_high_grade_is_told(grade: int | None, number: int, told: bool) -> None:
    found = result_findings(event(session=session(grade=grade), number=number), RULES)

    assert [type(finding) for finding in found] == ([GradeResult] if told else [])


def test_a_winner_given_little_chance_is_a_surprise() -> None:
    (found,) = result_findings(event(predicted={1: 0.9, 2: 0.0499}), RULES)

    assert isinstance(found, Surprise)
    assert (found.slot, found.probability) == (2, 0.0499)


@pytest.mark.parametrize(
    "changes",
    [
        {"predicted": {1: 0.9, 2: 0.05}},
        {"predicted": {}},
        {"predicted": {1: 0.01, 2: 0.01}, "placed": ((1, 1), (1, 2))},
    ],
    ids=["chance enough", "not predicted", "dead heat"],
)
def test_other_winners_are_no_surprise(changes: dict[str, Any]) -> None:
    assert result_findings(event(**changes), RULES) == []


def test_a_result_that_was_taken_back_is_not_told() -> None:
    assert result_findings(event(status="void", payouts=(Payout("2-1-3", 90_000),)), RULES) == []


def test_a_session_is_called_off_once_however_many_events_go() -> None:
    (first,) = called_off_findings(session(events=12, called_off=(11, 12)))
    (second,) = called_off_findings(session(events=12, called_off=(10, 11, 12)))

    assert finding_id(first) == finding_id(second)
    assert called_off_findings(session(events=12)) == []


@pytest.mark.parametrize(
    ("statuses", "over"),
    [
        ({"settled": 10, "void": 1, "cancelled": 1}, True),
        ({"postponed": 12}, True),
        ({"settled": 11, "observed": 1}, False),
        ({"settled": 11, "provisional": 1}, False),
        ({}, False),
    ],
)
def test_a_day_is_over_when_no_event_is_waited_for(statuses: dict[str, int], over: bool) -> None:
    assert is_day_complete(statuses) is over
