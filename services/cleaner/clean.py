"""Converts a raw event to a fact, by the reader of its source's format and its feed.

Each source format has a module of its own, with one reader per feed.
"""

from collections.abc import Callable

from pydantic import ValidationError

from services.cleaner import boatrace
from services.cleaner.filtered import Filtered
from services.cleaner.reference import read_reference
from shared.errors import InvalidEvent
from shared.events import CleanEvent, FactKind, RawEvent
from shared.records import reason_of

__all__ = ["FACT_KINDS", "Filtered", "clean"]

Feeds = dict[str, Callable[[RawEvent], CleanEvent | Filtered]]

BOATRACE: Feeds = {
    "programs": boatrace.read_program,
    "previews": boatrace.read_preview,
    "results": boatrace.read_result,
    "reference": read_reference,
}

FACT_KINDS: dict[str, FactKind] = {"programs": "listed", "previews": "observed", "results": "settled"}
"""The kind of fact that each feed contains. Reference data is none."""

FORMATS: dict[str, Feeds] = {"boatrace": BOATRACE, "simulator": BOATRACE}
"""The format of a source, by the part of its name before the first hyphen (`simulator`, `simulator-2`)."""


def clean(raw: RawEvent) -> CleanEvent | Filtered:
    """The fact in `raw`, or the reason why it has none.

    Raises InvalidEvent, and nothing else, if the slice does not have the source's documented shape, contradicts itself
    or its key, or holds an impossible value.
    """
    feeds = FORMATS.get(raw.source.partition("-")[0])
    if feeds is None:
        raise InvalidEvent(f"expected a source that begins with {' or '.join(FORMATS)}, got {raw.source!r}")
    reader = feeds.get(raw.feed)
    if reader is None:
        raise InvalidEvent(f"expected a feed among {', '.join(feeds)}, got {raw.feed!r}")
    try:
        return reader(raw)
    except InvalidEvent as error:
        raise InvalidEvent(f"{raw.feed} of {raw.event_key}: {error}") from error
    except ValidationError as error:
        raise InvalidEvent(f"{raw.feed} of {raw.event_key}: {reason_of(error)}") from error
