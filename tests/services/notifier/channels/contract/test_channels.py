"""The contract of every channel, against real servers."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import structlog

from services.notifier.channels.base import ChannelBusy, ChannelRefused, ChannelUncertain, Digesting, Message, Receipt
from services.notifier.delivery.channel_loop import ChannelLoop, DeliveryOptions
from services.notifier.pacing import DeliveryPolicy, RateLimit
from services.notifier.storage.postgres_ledger import NewNotification, record_notifications
from services.notifier.texts.message import escape
from tests.certificates import Certificate
from tests.services.notifier.channels.contract.harnesses import SECRET, Harness, harness_of
from tests.services.notifier.sending import open_connection

KINDS = ("console", "discord", "email", "slack", "webhook")
HOSTILE_NAMES = (
    "@everyone @here <@123456789012345678> <!channel> <#42>",
    "*a* **b** _c_ ~d~ `e` ||f|| [g](https://h.example) > i # j",
    "https://evil.example www.evil.example discord.gg/abc <https://evil.example|good>",
    "<script>alert(1)</script><b onclick=x>&amp;</b>",
    "a\r\nBcc: victim@example.org\r\n\r\nx\x00\x1b[31m\u202e",
)


def message(text: str) -> Message:
    return Message("id/tip", UUID(int=5), "tip", "river:2026-05-02:07:01", text)


@pytest.fixture(params=KINDS)
def harness(request: pytest.FixtureRequest, certificate: Certificate) -> Iterator[Harness]:
    with harness_of(request.param, certificate) as harness:
        yield harness


def require(is_given: bool, what: str) -> None:
    if not is_given:
        pytest.skip(f"this channel has no {what}")


def test_an_accepted_message_is_shown_once(harness: Harness) -> None:
    receipt = harness.channel.send(message("**Tip** · boat 1"))

    assert isinstance(receipt, Receipt)
    (shown,) = harness.shown()
    assert "Tip" in shown
    assert "boat 1" in shown


@pytest.mark.parametrize("retry_after_s", [None, 7])
def test_a_busy_channel_says_when_to_try_again(harness: Harness, retry_after_s: int | None) -> None:
    harness.be_busy(retry_after_s)

    with pytest.raises(ChannelBusy) as raised:
        harness.channel.send(message("a"))

    assert raised.value.retry_after_s == (retry_after_s if harness.gives_retry_after else None)


def test_a_refusal_is_final(harness: Harness) -> None:
    require(harness.has_secret, "refusals")
    harness.refuse()

    with pytest.raises(ChannelRefused):
        harness.channel.send(message("a"))


def test_a_channel_that_cannot_be_reached_certainly_did_not_deliver(harness: Harness) -> None:
    with pytest.raises(ChannelBusy):
        harness.unreachable().send(message("a"))


def test_after_a_lost_answer_delivery_is_uncertain_unless_repeats_are_ignored(harness: Harness) -> None:
    require(harness.can_fail_unclearly, "unclear failures")
    harness.drop_answers()

    with pytest.raises(ChannelBusy if harness.ignores_repeats else ChannelUncertain):
        harness.channel.send(message("a"))

    assert harness.count() == 1


def test_a_receiver_that_does_not_answer_is_not_waited_for(harness: Harness) -> None:
    require(harness.can_fail_unclearly, "unclear failures")

    with pytest.raises(ChannelBusy if harness.ignores_repeats else ChannelUncertain):
        harness.hang().send(message("a"))


def test_a_redirect_is_not_followed(harness: Harness) -> None:
    require(harness.redirects, "redirects")
    harness.redirect()

    with pytest.raises(ChannelRefused):
        harness.channel.send(message("a"))

    assert harness.count() == 1


def test_the_secret_is_in_no_error_repr_or_log(harness: Harness, caplog: pytest.LogCaptureFixture) -> None:
    require(harness.has_secret, "secret")
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.CRITICAL, logger="mail.log")  # the server of the test
    texts = [repr(harness.channel), repr(vars(harness.channel))]
    unreachable = harness.unreachable()

    with structlog.testing.capture_logs() as logs:
        harness.channel.send(message("a"))
        failures: list[Callable[[], None]] = [partial(harness.be_busy, None), harness.refuse, harness.drop_answers]
        for fail in failures:
            fail()
            texts.append(_error_of(harness.channel))
        texts.append(_error_of(unreachable))

    assert SECRET not in " ".join([*texts, caplog.text, str(logs)])


def _error_of(channel: Any) -> str:
    with pytest.raises((ChannelBusy, ChannelRefused, ChannelUncertain)) as raised:
        channel.send(message("a"))
    return "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_shown_and_does_nothing_else(harness: Harness, name: str) -> None:
    harness.channel.send(message(f"Tip · {escape(name)} · end"))

    (shown,) = harness.shown()
    assert shown.startswith("Tip · ")
    assert shown.endswith(" · end")
    assert harness.actions(shown) == []


def test_a_text_of_5000_characters_is_shown_as_far_as_the_channel_allows(harness: Harness) -> None:
    lines = [f"line {number:04d}" for number in range(500)]

    harness.channel.send(message("\n".join(lines)))

    (shown,) = harness.shown()
    assert "line 0000" in shown
    assert "line 0180" in shown


def test_characters_outside_ascii_arrive_unchanged(harness: Harness) -> None:
    harness.channel.send(message("三国 ボート 🚤 é ü"))

    assert harness.shown() == ["三国 ボート 🚤 é ü"]


def test_many_messages_at_once_go_at_the_declared_rate(harness: Harness, database: psycopg.Connection[Any]) -> None:
    notes = [NewNotification(uuid4(), "tip", "k", f"n{number}") for number in range(12)]
    record_notifications(database, notes, [harness.channel.name])
    began_s = time.monotonic()
    loop = ChannelLoop(open_connection, harness.channel, DeliveryOptions(DeliveryPolicy(), lambda *_: None))

    while loop.step(database) == 0.0:
        pass

    rate = _rate_of(harness)
    allowed = rate.burst + rate.per_s * (time.monotonic() - began_s)
    assert 1 <= harness.count() <= allowed
    # What waits for the pace of people comes together; a limit of the channel leaves it waiting.
    waiting = database.execute("SELECT count(*) FROM notifier.ledger WHERE state = 'pending'").fetchone()
    assert waiting == (0 if isinstance(harness.channel, Digesting) else 12 - harness.count(),)


def _rate_of(harness: Harness) -> RateLimit:
    pace = harness.channel.pace if isinstance(harness.channel, Digesting) else None
    return pace or harness.channel.rate
