"""What needs attention while a run goes on, each in one line with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

from headrace.progress.frame import Details
from headrace.progress.positions import Reading
from headrace.progress.text import number_of

LONGEST_REASON = 160


def notices_of(details: Details, reading: Reading | None, troubles: tuple[str, ...] = ()) -> tuple[str, ...]:
    """`troubles`: what the run itself has met, for example a database that does not answer."""
    return (*troubles, *_of_stages(details), *_of_windows(reading))


def _of_stages(details: Details) -> Iterator[str]:
    for service, status in details.statuses.items():
        if status.paused_on:
            topics = ", ".join(status.paused_on)
            yield f"the {service} is paused on {topics}; to continue: headrace resume {service} {status.paused_on[0]}"
        if status.state == "held back":
            yield f"the {service} holds records back until it is resumed: {status.reason[:LONGEST_REASON]}"
        if status.state == "waiting":
            yield f"the {service} waits and tries again: {status.reason[:LONGEST_REASON]}"


def _of_windows(reading: Reading | None) -> Iterator[str]:
    failed = reading.fetcher.failed if reading and reading.fetcher else ()
    if failed:
        yield f"{number_of(len(failed), 'window')} of the source failed; headrace status lists them"
