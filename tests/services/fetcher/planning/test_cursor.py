"""Cursors of earlier versions stay readable."""

from __future__ import annotations

from datetime import UTC, datetime

from services.fetcher.planning.cursor import SliceVersion, Timetable, WindowCursor, decode, encode, status_of

# Written by the version before completeness and cadence.
OLD = (
    b'{"state":"done","document":"5b1c","etag":"\\"1\\"","fetched_at":"2031-05-04T15:10:00Z",'
    b'"seen":{"meadow:2031-05-04:03:01":["9f",2,"1a"]},"events":12,"most_events":12,"is_confirmed":true}'
)


def test_a_cursor_of_an_older_version_is_read() -> None:
    cursor = decode(OLD)

    assert (cursor.state, cursor.document, cursor.etag) == ("done", "5b1c", '"1"')
    assert cursor.seen == {"meadow:2031-05-04:03:01": SliceVersion("9f", 2, "1a")}
    assert (cursor.events, cursor.is_confirmed, cursor.equal_answers, cursor.valued) == (12, True, 0, None)
    assert status_of(OLD).fetched_at == datetime(2031, 5, 4, 15, 10, tzinfo=UTC)


def test_fields_of_a_newer_version_are_skipped() -> None:
    assert decode(b'{"state":"live","later":[1]}') == WindowCursor()


def test_a_cursor_is_read_as_it_was_written() -> None:
    cursor = WindowCursor(events=3, timetable=Timetable({"03:01": 5}, frozenset({"03:01"})))

    assert decode(encode(cursor)) == cursor


def test_a_failure_does_not_open_a_window_that_is_done() -> None:
    failed = WindowCursor(state="done").as_failed("busy")

    assert (failed.state, failed.error, failed.attempts) == ("done", "busy", 1)
    assert failed.as_recovered() == WindowCursor(state="done")
