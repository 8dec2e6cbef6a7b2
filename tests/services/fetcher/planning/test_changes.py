"""How two documents of a window differ."""

from __future__ import annotations

from datetime import UTC, datetime

from services.fetcher.planning.changes import MAX_EVENTS, MAX_FIELDS, change_text, document_change
from services.fetcher.planning.cursor import EventDifference

AT = datetime(2031, 5, 5, 15, 10, tzinfo=UTC)


def changes(before: dict[str, bytes], after: dict[str, bytes]) -> list[EventDifference]:
    return list(document_change(AT, ("old", before), ("new", after)).events)


def test_events_are_added_removed_and_changed() -> None:
    before = {"a": b'{"n":1}', "b": b'{"n":1,"boats":[{"lane":1},{"lane":2}]}', "c": b'{"n":1}'}
    after = {"b": b'{"n":1,"wind":3,"boats":[{"lane":1},{"lane":3}]}', "c": b'{"n":1}', "d": b'{"n":1}'}

    assert changes(before, after) == [
        EventDifference("a", "removed"),
        EventDifference("b", "changed", ("boats.1.lane", "wind")),
        EventDifference("d", "added"),
    ]


def test_the_number_of_stored_events_and_fields_is_bounded() -> None:
    before = {f"{number:03}": b"{}" for number in range(100)}
    after = dict.fromkeys(before, ("{" + ",".join(f'"key{number:02}":1' for number in range(50)) + "}").encode())

    change = document_change(AT, ("old", before), ("new", after))

    assert (len(change.events), change.total) == (MAX_EVENTS, 100)
    assert all(len(each.fields) == MAX_FIELDS + 1 and each.fields[-1] == "..." for each in change.events)


def test_an_event_whose_earlier_body_is_unknown_has_no_fields() -> None:
    assert changes({"a": b""}, {"a": b"{}"}) == [EventDifference("a", "changed")]


def test_the_text_names_the_first_events() -> None:
    before, after = dict.fromkeys("abcd", b"{}"), dict.fromkeys("abcd", b'{"n":1}')

    text = change_text(document_change(AT, ("old", before), ("new", after)))

    assert text == "4 events: a changed (n), b changed (n), c changed (n), ..."
