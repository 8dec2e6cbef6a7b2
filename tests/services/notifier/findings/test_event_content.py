"""What a finding shows besides its text."""

from __future__ import annotations

from datetime import date

from services.notifier.findings.event_content import content_of
from services.notifier.findings.finding import BigPayout, CalledOff, Daily, Digest, Finding, Payout, Surprise, Tip
from tests.services.notifier.samples import event, session


def test_a_day_has_a_picture_and_its_results() -> None:
    content = content_of(Daily(Digest("made-up", date(2031, 5, 4), {"settled": 12})))

    assert (content.picture, content.attachment) == ("day:made-up:2031-05-04", "results:made-up:2031-05-04")


def test_colours_tell_kinds_apart() -> None:
    findings: list[Finding] = [
        Tip(event(), 1, 0.8, "v", "card"),
        BigPayout(event(), Payout("1-2-3", 60_000)),
        Surprise(event(), 1, 0.02),
        CalledOff(session()),
    ]

    assert [content_of(finding).colour for finding in findings] == ["information", "good", "warning", "muted"]
