"""What the notification of a finding about events shows besides its text."""

from __future__ import annotations

from services.notifier.findings.finding import BigPayout, CalledOff, Daily, Finding, GradeResult, Surprise, Tip
from services.notifier.texts.content import Content


def content_of(finding: Finding) -> Content:
    """A day has a picture and a table of its results."""
    match finding:
        case Daily(digest):
            subject = f"{digest.source}:{digest.day.isoformat()}"
            return Content(picture=f"day:{subject}", attachment=f"results:{subject}")
        case BigPayout():
            return Content(colour="good")
        case Surprise():
            return Content(colour="warning")
        case CalledOff():
            return Content(colour="muted")
        case Tip() | GradeResult():
            return Content()
