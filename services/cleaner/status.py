"""Whether an event is settled, void, cancelled or only half told.

The source says none of this; it follows from what its result page shows.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from services.cleaner.filtered import Filtered

NO_RESULT = Filtered("no result yet")
HALF_PUBLISHED = Filtered("half-published result")


class Page(NamedTuple):
    """What a result page shows."""

    outcomes: Sequence[dict[str, Any]]  # of slots 1 to 6; a key is there where its value is known
    paid: bool  # any payout row
    blank: bool  # nothing at all: no racer (not even number 0), no name, no weather, no technique
    historical: bool  # read after the day was over: nothing will follow


def status_of(page: Page) -> str | Filtered:
    """settled, void, cancelled or provisional; Filtered where the page states no fact.

    - A blank page of a day that is over: the event was called off, `cancelled`. While the day runs it only says
      that there is no result yet.
    - No fate of any boat and yet not blank (the trace is a `racer_number` 0): read while it was being written.
      Whether that event ended is not known, so this is no cancellation, even when nothing better ever follows.
    - Places and payouts, and every boat accounted for: `settled`.
    - Neither a place nor a payout, and none can follow: `void`.
    - Anything between is `provisional`, in an archive too: places whose payouts are gone must not be taken for an
      event in which every payout was a special one.
    """
    placed = any("place" in outcome for outcome in page.outcomes)
    if not placed and not page.paid and not any(has_fate(outcome) for outcome in page.outcomes):
        if not page.blank:
            return HALF_PUBLISHED
        return "cancelled" if page.historical else NO_RESULT
    accounted = all(_is_accounted(outcome, page.historical) for outcome in page.outcomes)
    if placed and page.paid and accounted:
        return "settled"
    if not placed and not page.paid and (accounted or _no_bet_stands(page.outcomes)):
        return "void"
    return "provisional"


def has_fate(outcome: dict[str, Any]) -> bool:
    """Something happened to this boat: who sat in it alone is no outcome."""
    return "place" in outcome or "code" in outcome or "course" in outcome or "start_timing_s" in outcome


def _is_accounted(outcome: dict[str, Any], historical: bool) -> bool:
    """A place or a code is a boat's end. A racer without either is one only when the day is over: the source has no
    number for some of the marks in its page, and while the day runs that looks like a place still to come."""
    return "place" in outcome or "code" in outcome or (historical and "entity_key" in outcome)


def _no_bet_stands(outcomes: Sequence[dict[str, Any]]) -> bool:
    """Fewer than two boats whose stakes stay: void at once, whatever the last one did."""
    return sum(not outcome.get("refunded", False) for outcome in outcomes) < 2
