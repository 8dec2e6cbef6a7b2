"""Renders findings as short texts in Discord's markdown, and converts these texts to plain text.

Names come from untrusted documents. They must not mention (ping) people, create links or formatting, or contain
terminal control codes. A text states a probability or a fact and never promises a profit.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime

from services.notifier.findings import finding as findings

# Discord refuses longer messages. Counted in UTF-16 code units, the stricter of the two possible ways.
MAX_LENGTH = 2_000
MAX_NAME_LENGTH = 80
ZERO_WIDTH_SPACE = "\u200b"  # zero-width space: invisible, and breaks up a mention or link
MARKDOWN = re.compile(r"([\\*_~|`<>\[\]()#])")
MENTION_OR_LINK = re.compile(r"@|(?<=:)(?=//)|(?<=[Ww]{3})(?=\.)|(?<=\.)(?=gg/)")


def render(finding: findings.Finding) -> str:
    """The finding's text in Discord's markdown, at most MAX_LENGTH long."""
    return truncate("\n".join(_lines(finding)))


def escape(name: str) -> str:
    """Untrusted text as one line of at most MAX_NAME_LENGTH characters, with markdown, mentions and links escaped."""
    one_line = " ".join(_printable(name.replace(ZERO_WIDTH_SPACE, "")).split())[:MAX_NAME_LENGTH]
    return MENTION_OR_LINK.sub(lambda match: match.group() + ZERO_WIDTH_SPACE, MARKDOWN.sub(r"\\\1", one_line))


def plain_text(text: str) -> str:
    """A rendered text as one line without markdown escapes and marks."""
    unmarked = re.sub(r"\\(.)|\*\*", lambda match: match.group(1) or "", text.replace(ZERO_WIDTH_SPACE, ""))
    return " · ".join(_printable(line) for line in unmarked.splitlines() if line)


def truncate(text: str) -> str:
    """Cut the text to MAX_LENGTH UTF-16 units, at the end of a line if possible."""
    while _utf16_length(text) > MAX_LENGTH:
        shorter, newline, _ = text.rpartition("\n")
        if not newline:
            return text.encode("utf-16-le")[: 2 * (MAX_LENGTH - 1)].decode("utf-16-le", "ignore") + "…"
        text = shorter
    return text


def _lines(finding: findings.Finding) -> Iterable[str]:
    match finding:
        case findings.Tip(event, slot, probability, model_version, state):
            yield f"**Favourite** · {_event(event)}"
            win = _percent(probability)
            yield f"{_entry(event, slot)}: win probability {win}, predicted by {escape(model_version)}"
            yield f"Based on the {state}. This is a probability, not advice; no return is promised."
        case findings.BigPayout(event, market, payout):
            yield f"**Big payout** · {_event(event)}"
            yield f"{escape(market)} {escape(payout.selection)} paid {payout.amount:,} per 100 staked"
            yield from _places(event)
        case findings.GradeResult(event):
            yield f"**Final result** · {_event(event)}"
            if event.session.title:
                yield f"{escape(event.session.title)} (grade {event.session.grade})"
            yield from _places(event)
        case findings.Surprise(event, slot, probability):
            yield f"**Surprise** · {_event(event)}"
            yield f"{_entry(event, slot)} won; our last prediction gave a win probability of {_percent(probability)}"
        case findings.CalledOff(session):
            yield f"**Called off** · {_session(session)}"
            numbers = ", ".join(str(number) for number in session.called_off_numbers)
            yield f"{len(session.called_off_numbers)} of {_event_count(session.events)} will not take place: {numbers}"
        case findings.Daily(digest):
            yield from _digest_lines(digest)


def _digest_lines(digest: findings.Digest) -> Iterable[str]:
    counts = ", ".join(f"{digest.statuses[status]} {status}" for status in sorted(digest.statuses))
    yield f"**Summary** · {escape(digest.source)} {digest.day.isoformat()}"
    yield f"{_event_count(digest.events)}: {counts}"
    if digest.best_payouts:
        yield "Highest payouts per 100 staked:"
    for place, payout in digest.best_payouts:
        yield f"{escape(place)}: {escape(payout.selection)} paid {payout.amount:,}"
    if digest.log_loss is not None and digest.base_log_loss is not None:
        yield (
            f"Predictions: log loss {digest.log_loss:.4f} nats over {_event_count(digest.scored_events)}; the base"
            f" rates of {_event_count(digest.base_events)} before this day give"
            f" {digest.base_log_loss:.4f} (lower is better)"
        )


def _session(session: findings.SessionDetails) -> str:
    return f"{escape(session.venue_name or f'venue {session.venue}')} {session.day.isoformat()}"


def _event(event: findings.EventDetails) -> str:
    start = f", start {_minute(event.scheduled_at)}" if event.scheduled_at else ""
    return f"{_session(event.session)}, event {event.number}{start}"


def _entry(event: findings.EventDetails, slot: int) -> str:
    name = event.names.get(slot)
    return f"{slot} {escape(name)}" if name else f"slot {slot}"


def _places(event: findings.EventDetails) -> Iterable[str]:
    places = [f"{place}. {_entry(event, slot)}" for place, slot in event.places if place <= 3]
    if places:
        yield ", ".join(places)


def _event_count(events: int) -> str:
    return "1 event" if events == 1 else f"{events:,} events"


def _minute(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _percent(probability: float) -> str:
    return f"{100 * probability:.1f}%"


def _printable(text: str) -> str:
    """Replace control and format characters (including those that change the text direction) by spaces."""
    return "".join(c if c == ZERO_WIDTH_SPACE or unicodedata.category(c)[0] != "C" else " " for c in text)


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
