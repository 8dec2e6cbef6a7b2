"""How two documents of a window differ."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from services.fetcher.planning.changes import (
    MAX_EVENTS,
    MAX_FIELDS,
    MAX_LINE_CHARS,
    MAX_RECENT,
    MAX_RECENT_LINES,
    change_text,
    document_change,
    recent_changes,
)
from services.fetcher.planning.cursor import DocumentChange, EventDifference
from services.fetcher.planning.windows import Window

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


def test_the_recent_changes_are_the_newest_ones_of_a_day() -> None:
    def change(hours_ago: float) -> DocumentChange:
        difference = EventDifference("meadow:2031-05-04:03:01", "changed", ("x" * 500,))
        return DocumentChange(AT - timedelta(hours=hours_ago), "a", "b", (difference,) * 9, 9)

    first, ages = date(2031, 5, 4), [25.0, 24.0, *range(20)]
    changes = {
        Window("ends", date(2031, 5, 4) + timedelta(days=number)): change(age) for number, age in enumerate(ages)
    }

    recent = recent_changes(changes, "meadow", AT)

    assert [each["window"] for each in recent] == [
        f"meadow/ends/{first + timedelta(days=number)}" for number in range(2, 2 + MAX_RECENT)
    ]
    assert recent[0]["events"] == 9
    assert [len(line) for line in recent[0]["lines"]] == [MAX_LINE_CHARS] * MAX_RECENT_LINES
