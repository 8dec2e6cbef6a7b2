"""The oracle names every difference that no fault of the run explains."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from shared.topics import LOADED
from tests.faults.allowance import Allowance
from tests.faults.late_answers import answered_late
from tests.faults.oracle import Notification, Outcome, differences
from tests.faults.topics import TOPICS, Entry, Occurrence

RECORD, EVENT, RULE = "0000", "boatrace:2026-01-10:01:01", "big-payout"
MESSAGE = f"{RECORD}/{RULE}"


def occurrence(key: str, event_id: str, digest: str = "the bytes") -> Occurrence:
    return Occurrence(Entry(key.encode(), event_id.encode()), digest.encode(), "partition 0, offset 0")


A1, A2, B1 = occurrence("a", "1"), occurrence("a", "2"), occurrence("b", "3")


def outcome(*records: Occurrence, state: str = "sent", received: int = 1) -> Outcome:
    topics = {topic: list[Occurrence]() for topic in TOPICS} | {LOADED: list(records)}
    ledger = {MESSAGE: Notification(state, "text", event_key=EVENT, rule=RULE)}
    return Outcome({"events": ["row"]}, topics, ledger, Counter({MESSAGE: received}))


REFERENCE = outcome(A1, A2, B1)


def test_equal_outcomes_have_no_difference() -> None:
    assert differences(REFERENCE, outcome(B1, A1, A2)) == []


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([A1, B1], "LOST in loaded-events: 1 of 3"),
        ([A1, A2, B1, A1], "TWICE in loaded-events: 1 of 4"),
        ([A1, A2, B1, occurrence("c", "4")], "UNEXPECTED in loaded-events: 1"),
        ([A2, A1, B1], "REORDERED in loaded-events: 1 keys, first a"),
        ([A1, occurrence("a", "2", "other bytes"), B1], "DIFFERENT BYTES in loaded-events: 1 records: 2 of a"),
    ],
)
def test_each_difference_of_a_topic_is_named(records: list[Occurrence], problem: str) -> None:
    assert differences(REFERENCE, outcome(*records))[0].startswith(problem)


def test_a_repeat_is_allowed_as_often_as_the_log_began_again() -> None:
    allowance = Allowance(repeats=Counter({LOADED: 1}))

    assert differences(REFERENCE, outcome(A1, A2, B1, A1, A2), allowance) == []
    assert differences(REFERENCE, outcome(A1, A2, B1, A1, A1), allowance)[0].startswith("TWICE in loaded-events: 1")


def test_a_repeat_must_have_the_same_bytes() -> None:
    repeat = occurrence("a", "1", "other bytes")

    lines = differences(REFERENCE, outcome(A1, A2, B1, repeat), Allowance(repeats=Counter({LOADED: 1})))

    assert lines[0].startswith("DIFFERENT BYTES in loaded-events")


def test_a_notifier_that_leaves_every_message_to_an_operator_is_found() -> None:
    """Nothing is lost, nothing is there twice: only the bound finds it."""
    parked = outcome(A1, A2, B1, state="unknown", received=0)

    assert differences(REFERENCE, parked)[0].startswith("NOTIFICATIONS UNDECIDED: 1 of 1, left by 1 senders")


def test_an_alert_is_no_unexpected_message() -> None:
    key = "9/broken"
    alert = {key: Notification("sent", "text", event_key="incident/9", rule="broken")}
    actual = replace(REFERENCE, ledger=REFERENCE.ledger | alert, received=REFERENCE.received + Counter({key: 1}))
    other = replace(actual, ledger=REFERENCE.ledger | {key: alert[key]._replace(event_key="x:9")})

    assert differences(REFERENCE, actual) == []
    assert differences(REFERENCE, other)[0].startswith("NOTIFICATIONS UNEXPECTED: 1")


def undecided(*senders: str) -> Outcome:
    """One message without a decision for each of `senders`, and no other."""
    ledger = {f"{number}/{RULE}": Notification("unknown", "text", sender) for number, sender in enumerate(senders)}
    return replace(REFERENCE, ledger=ledger, received=Counter())


@pytest.mark.parametrize(
    ("senders", "ended", "is_explained"),
    [
        (["a"], 0, False),
        (["a"], 1, True),
        (["a", "b"], 1, False),
        (["a", "b"], 2, True),
        (["a", "a"], 1, True),
        (["a", "a", "a"], 3, False),
        (["", ""], 1, False),
    ],
)
def test_each_sender_that_ended_explains_what_it_had_in_hand(
    senders: list[str], ended: int, is_explained: bool
) -> None:
    actual = undecided(*senders)
    allowance = Allowance()
    allowance.senders_ended({"notifier-0": ended, "loader-0": 5})

    assert (differences(actual, actual, allowance) == []) == is_explained


def test_a_message_may_arrive_again_if_its_answer_came_too_late(tmp_path: Path) -> None:
    log = tmp_path / "notifier-0.log"
    entry = {"event": "notification_retried", "event_key": EVENT, "rule": RULE, "error": "webhook gave no answer: x"}
    log.write_bytes(orjson.dumps(entry) + b"\n" + orjson.dumps(entry | {"error": "webhook answered 503"}) + b"\n")
    allowance = Allowance(answered_late=answered_late([log]))

    assert differences(REFERENCE, outcome(A1, A2, B1, received=2), allowance) == []
    assert differences(REFERENCE, outcome(A1, A2, B1, received=3), allowance) == [f"RECEIVED 3 TIMES: {MESSAGE} (sent)"]


def test_a_message_may_arrive_again_only_if_the_ledger_went_back_before_it() -> None:
    again = outcome(A1, A2, B1, received=2)
    before, after, both = Allowance(), Allowance(), Allowance()
    before.went_back(Counter({MESSAGE: 1}), Counter({MESSAGE: 1}), senders=0)
    after.went_back(Counter(), Counter({MESSAGE: 1}), senders=0)
    both.went_back(Counter(), Counter({MESSAGE: 1}), senders=0)
    both.went_back(Counter({MESSAGE: 1}), Counter({MESSAGE: 2}), senders=0)

    assert differences(REFERENCE, again, before) == [f"RECEIVED 2 TIMES: {MESSAGE} (sent)"]
    assert differences(REFERENCE, again, after) == []
    assert differences(REFERENCE, outcome(A1, A2, B1, received=3), both) == []


def test_a_notification_may_be_missing_only_if_its_record_was_lost_and_the_loss_accepted() -> None:
    missing = replace(outcome(A1, A2, B1), ledger={}, received=Counter())

    assert differences(REFERENCE, missing) == [f"NOTIFICATIONS LOST: 1 missing in the ledger, first {MESSAGE}"]
    assert differences(REFERENCE, missing, Allowance(unnotified={EVENT})) == []
    assert differences(REFERENCE, missing, Allowance(unnotified={"another"})) != []


def test_the_summary_of_a_day_may_be_missing_if_a_record_of_one_of_its_events_was_lost() -> None:
    allowance = Allowance(unnotified={"river:2031-05-04:07:01"})

    subjects = (
        "river:2031-05-04:07:01",
        "river:2031-05-04:07",
        "river:2031-05-04",
        "river:2031-05-0",
        "river:2031-05-05",
    )
    assert [allowance.may_be_unnotified(each) for each in subjects] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("state", "received", "problem"),
    [
        ("sent", 0, f"NOT RECEIVED: {MESSAGE} (sent)"),
        ("failed", 1, f"NOT SENT: {MESSAGE} is failed"),
        ("pending", 1, f"NOT SENT: {MESSAGE} is pending"),
    ],
)
def test_each_difference_of_a_delivery_is_named(state: str, received: int, problem: str) -> None:
    assert differences(REFERENCE, outcome(A1, A2, B1, state=state, received=received)) == [problem]


def test_a_table_with_other_rows_is_named() -> None:
    other = replace(outcome(A1, A2, B1), tables={"events": ["another"]})

    assert differences(REFERENCE, other)[0].startswith("TABLE events: 1 rows are missing, 1 too many")
