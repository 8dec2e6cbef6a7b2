"""Decides from a result page whether an event is settled, void, cancelled or provisional.

The source has no field for it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from services.cleaner.filtered import Filtered

NO_RESULT = Filtered("no result yet")
HALF_PUBLISHED = Filtered("half-published result")


class ResultPage(NamedTuple):
    """The content of a result page, as far as the status depends on it."""

    outcomes: Sequence[dict[str, Any]]  # of slots 1 to 6; unknown values have no key
    has_payouts: bool  # there is a payout row
    is_blank: bool  # no content: no racer (not even number 0), name, weather or technique
    historical: bool  # fetched after the day was over: it will not change


def status_of(page: ResultPage) -> str | Filtered:
    """The status (settled, void, cancelled or provisional), or Filtered if the page contains no fact.

    - Blank page, day is over: `cancelled`. Blank page, day not over: Filtered, there is no result yet.
    - Not blank (a `racer_number` 0 is enough), but no outcome of any boat: Filtered. It was fetched while it was
      being written. Whether the event ended is unknown, so it is not a cancellation, even if no better page follows.
    - Places and payouts, and every boat accounted for: `settled`.
    - Neither a place nor a payout, and none can follow: `void`.
    - Anything else: `provisional`, even if the day is over. Places without payouts, for example: either the payouts are
      still missing, or all were special payouts, which the source omits (`missing_markets` in payouts.py).
    """
    has_places = any("place" in outcome for outcome in page.outcomes)
    if not has_places and not page.has_payouts and not any(has_outcome(outcome) for outcome in page.outcomes):
        if not page.is_blank:
            return HALF_PUBLISHED
        return "cancelled" if page.historical else NO_RESULT
    all_accounted = all(_is_accounted(outcome, page.historical) for outcome in page.outcomes)
    if has_places and page.has_payouts and all_accounted:
        return "settled"
    if not has_places and not page.has_payouts and (all_accounted or _too_few_starters(page.outcomes)):
        return "void"
    return "provisional"


def has_outcome(outcome: dict[str, Any]) -> bool:
    """Whether the boat has a place, a place code, a course or a start timing. A racer alone is not an outcome."""
    return "place" in outcome or "code" in outcome or "course" in outcome or "start_timing_s" in outcome


def _is_accounted(outcome: dict[str, Any], historical: bool) -> bool:
    """Whether the boat's outcome is final: it has a place or a code, or the day is over and it has a racer.

    For some outcomes on the official page, the source publishes neither place nor code. Until the day is over, such a
    boat looks like one whose place is not published yet.
    """
    return "place" in outcome or "code" in outcome or (historical and "entity_key" in outcome)


def _too_few_starters(outcomes: Sequence[dict[str, Any]]) -> bool:
    """Whether fewer than two boats have stakes that are not refunded. The event is then void at once."""
    return sum(not outcome.get("refunded", False) for outcome in outcomes) < 2
