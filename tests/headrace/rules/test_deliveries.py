"""When notifications would have been sent: quiet hours, expiry, pace and digests in the events' own time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from headrace.rules.deliveries import Delivery, deliveries_of
from headrace.rules.rehearsal import RehearsedNotification
from services.notifier.disposition import HoldUntil, SendNow
from services.notifier.rules.rule_book import RuleBook
from tests.services.notifier.books import book_of

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NIGHT = {"from": "22:00", "to": "07:00", "then": "wait"}
RACES = "discord-bot/channel/111111111111111111"


def note(minutes: float, rule: str = "tip", text: str = "a text") -> RehearsedNotification:
    return RehearsedNotification(
        NOON + timedelta(minutes=minutes), UUID(int=int(minutes * 60)), rule, "river:2026-01-31", text
    )


def races(pace: dict[str, Any] | None = None, **rule: Any) -> RuleBook:
    channel = {"kind": "discord-bot", "channel": "111111111111111111"} | ({"pace": pace} if pace else {})
    return book_of({"races": channel}, tip={"finding": "tip", "to": ("races",), **rule})


def minutes_and_outcomes(deliveries: list[Delivery]) -> list[tuple[int, str, int | None]]:
    return [(round((each.at - NOON).total_seconds() / 60), each.outcome, each.digest) for each in deliveries]


def test_a_notification_is_sent_to_each_address_when_it_is_recorded() -> None:
    book = book_of(
        {"mail": {"kind": "email", "to": ("a@example.org",)}, "console": {"kind": "console"}},
        tip={"finding": "tip", "to": ("mail", "console")},
    )

    deliveries = deliveries_of([note(0), note(5)], book, ["discord"])

    assert [(each.at, each.address) for each in deliveries] == [
        (NOON, "console"),
        (NOON, "email/mail"),
        (NOON + timedelta(minutes=5), "console"),
        (NOON + timedelta(minutes=5), "email/mail"),
    ]


def test_quiet_hours_hold_a_notification_until_they_end() -> None:
    deliveries = deliveries_of([note(9.9 * 60), note(11 * 60)], races(quiet_hours=NIGHT), [])

    assert minutes_and_outcomes(deliveries) == [(594, "sent", None), (19 * 60, "sent", None)]


def test_a_notification_that_expires_in_quiet_hours_is_dropped() -> None:
    (delivery,) = deliveries_of([note(11 * 60)], races(quiet_hours=NIGHT, expires="30m"), [])

    assert delivery.outcome == "expired"
    assert str(delivery.reason).startswith("it expired at 2026-01-31T23:30:00+00:00")


def test_what_waits_for_the_pace_is_one_digest() -> None:
    book = races({"burst": 2, "every": "10m"})

    deliveries = deliveries_of([note(0), note(1), note(2), note(3), note(4), note(60)], book, [])

    assert minutes_and_outcomes(deliveries) == [
        (0, "sent", None),
        (1, "sent", None),
        (10, "sent", 1),
        (10, "sent", 1),
        (10, "sent", 1),
        (60, "sent", None),
    ]


def test_a_mail_every_quarter_of_an_hour_is_a_digest() -> None:
    mail = {"kind": "email", "to": ("a@example.org",), "digest_every": "15m"}
    book = book_of({"mail": mail}, tip={"finding": "tip", "to": ("mail",)})

    deliveries = deliveries_of([note(0), note(1), note(2), note(16), note(17)], book, [])

    assert minutes_and_outcomes(deliveries) == [
        (0, "sent", None),
        (15, "sent", 1),
        (15, "sent", 1),
        (30, "sent", 2),
        (30, "sent", 2),
    ]


def test_a_digest_that_does_not_fit_into_a_message_is_continued_by_the_next() -> None:
    notes = [note(minute, text="x" * 700) for minute in range(5)]

    deliveries = deliveries_of(notes, races({"burst": 1, "every": "10m"}), [])

    assert minutes_and_outcomes(deliveries) == [
        (0, "sent", None),
        (10, "sent", 1),
        (10, "sent", 1),
        (20, "sent", 2),
        (20, "sent", 2),
    ]


@given(
    st.lists(st.integers(0, 3_000), min_size=1, max_size=30),
    st.integers(1, 4),
    st.sampled_from(["1m", "10m", "45m"]),
    st.booleans(),
    st.sampled_from([None, "20m", "12h"]),
)
def test_every_notification_has_one_outcome_at_a_time_that_its_rule_allows(
    minutes: list[int], burst: int, every: str, is_quiet: bool, expires: str | None
) -> None:
    rule: dict[str, Any] = ({"quiet_hours": NIGHT} if is_quiet else {}) | ({"expires": expires} if expires else {})
    book = races({"burst": burst, "every": every}, **rule)
    notes = [note(minute, text=f"text {index}") for index, minute in enumerate(sorted(minutes))]

    deliveries = deliveries_of(notes, book, [])

    assert sorted(each.notification.text for each in deliveries) == sorted(each.text for each in notes)
    for each in deliveries:
        created_at = each.notification.recorded_at
        disposition = book.disposition("tip", RACES, created_at, each.at, {})
        assert each.at >= created_at
        assert isinstance(disposition, SendNow) == (each.outcome == "sent")
        assert not isinstance(disposition, HoldUntil)
    messages = sorted({each.at for each in deliveries if each.outcome == "sent"})
    step = timedelta(minutes=int(every[:-1]))
    for index in range(len(messages) - burst):
        assert messages[index + burst] - messages[index] >= step - timedelta(milliseconds=1)
