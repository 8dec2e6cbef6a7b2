"""Findings as short texts in Discord's markdown, and those texts without it.

Names come from documents that strangers wrote: nothing in them may ping anybody, make a link or a format, or reach a
terminal's control codes. What a text says is a probability or a fact, never a promise of profit.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime

from services.notifier import findings

# Discord refuses a longer message; counted in UTF-16 units, the stricter of the two ways to count.
LONGEST = 2_000
LONGEST_NAME = 80
BREAK = "\u200b"  # takes no room, and what stands on its two sides is no mention and no link any more
MARKDOWN = re.compile(r"([\\*_~|`<>\[\]()#])")
MENTION_OR_LINK = re.compile(r"@|(?<=:)(?=//)|(?<=[Ww]{3})(?=\.)|(?<=\.)(?=gg/)")


def render(finding: findings.Finding) -> str:
    return clip("\n".join(_lines(finding)))


def safe(name: str) -> str:
    """Untrusted text for the middle of a message: one line, bounded, and nothing in it acts."""
    one_line = " ".join(_printable(name.replace(BREAK, "")).split())[:LONGEST_NAME]
    return MENTION_OR_LINK.sub(lambda found: found.group() + BREAK, MARKDOWN.sub(r"\\\1", one_line))


def plain(text: str) -> str:
    """A rendered text for a reader without markdown: one line, its escapes and marks taken away."""
    unmarked = re.sub(r"\\(.)|\*\*", lambda found: found.group(1) or "", text.replace(BREAK, ""))
    return " · ".join(_printable(line) for line in unmarked.splitlines() if line)


def clip(text: str) -> str:
    """At most LONGEST UTF-16 units: whole lines as long as there are any."""
    while _units(text) > LONGEST:
        shorter, newline, _ = text.rpartition("\n")
        if not newline:
            return text.encode("utf-16-le")[: 2 * (LONGEST - 1)].decode("utf-16-le", "ignore") + "…"
        text = shorter
    return text


def _lines(finding: findings.Finding) -> Iterable[str]:
    match finding:
        case findings.Tip(event, slot, probability, model_version, state):
            yield f"**Favourite** · {_event(event)}"
            yield f"{_entry(event, slot)} wins with probability {_percent(probability)}, says {safe(model_version)}"
            yield f"Known so far: the {state}. A probability, not advice; no return is claimed."
        case findings.BigPayout(event, market, payout):
            yield f"**Big payout** · {_event(event)}"
            yield f"{safe(market)} {safe(payout.selection)} paid {payout.amount:,} per 100 staked"
            yield from _places(event)
        case findings.GradeResult(event):
            yield f"**Final result** · {_event(event)}"
            if event.session.title:
                yield f"{safe(event.session.title)} (grade {event.session.grade})"
            yield from _places(event)
        case findings.Surprise(event, slot, probability):
            yield f"**Surprise** · {_event(event)}"
            yield f"{_entry(event, slot)} won; our last prediction had given it {_percent(probability)}"
        case findings.CalledOff(session):
            yield f"**Called off** · {_session(session)}"
            numbers = ", ".join(str(number) for number in session.called_off)
            yield f"{len(session.called_off)} of {session.events} events will not take place: {numbers}"
        case findings.Daily(digest):
            yield from _digest_lines(digest)


def _digest_lines(digest: findings.Digest) -> Iterable[str]:
    counts = ", ".join(f"{digest.statuses[status]} {status}" for status in sorted(digest.statuses))
    yield f"**Summary** · {safe(digest.source)} {digest.day.isoformat()}"
    yield f"{digest.events} events: {counts}"
    if digest.best:
        yield "Highest payouts per 100 staked:"
    for place, payout in digest.best:
        yield f"{safe(place)}: {safe(payout.selection)} {payout.amount:,}"
    if digest.log_loss is not None and digest.base_log_loss is not None:
        yield (
            f"Predictions: log-loss {digest.log_loss:.4f} nats over {digest.scored} events; the base rate of"
            f" {digest.base_events:,} earlier events gives {digest.base_log_loss:.4f} (less is better)"
        )


def _session(session: findings.SessionFacts) -> str:
    return f"{safe(session.venue_name or f'venue {session.venue}')} {session.day.isoformat()}"


def _event(event: findings.EventFacts) -> str:
    start = f", start {_minute(event.scheduled_at)}" if event.scheduled_at else ""
    return f"{_session(event.session)}, event {event.number}{start}"


def _entry(event: findings.EventFacts, slot: int) -> str:
    name = event.names.get(slot)
    return f"{slot} {safe(name)}" if name else f"slot {slot}"


def _places(event: findings.EventFacts) -> Iterable[str]:
    places = [f"{place}. {_entry(event, slot)}" for place, slot in event.placed if place <= 3]
    if places:
        yield ", ".join(places)


def _minute(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _percent(probability: float) -> str:
    return f"{100 * probability:.1f} %"


def _printable(text: str) -> str:
    """Control and format characters (also those that turn the direction of writing) become spaces."""
    return "".join(c if c == BREAK or unicodedata.category(c)[0] != "C" else " " for c in text)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
