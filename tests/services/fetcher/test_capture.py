from __future__ import annotations

from collections.abc import Mapping

import orjson
import pytest

from services.fetcher.capture import Capture, CaptureResult, WrongDay
from services.fetcher.planning.cursor import SliceVersion, WindowCursor, decode, encode
from services.fetcher.sources.documents import Document
from shared.errors import InvalidDocument
from shared.events import RawEvent, event_id_of
from tests.services.fetcher.made import DAY, NOON, document, event, event_ids, made_source, raw_events

SOURCE = made_source()
# Far deeper than any parser goes: msgspec raises RecursionError.
NESTED = b"[" * 100_000 + b"]" * 100_000


def capture(found: Document, seen: Mapping[str, SliceVersion] | None = None, closing: bool = False) -> CaptureResult:
    return Capture(SOURCE, SOURCE.feed(found.feed))(found, seen or {}, closing)


def document_of(text: bytes, feed: str = "cards") -> Document:
    return Document(feed, DAY, "/cards/made.json", text, NOON)


def test_each_event_becomes_a_raw_event_of_its_own() -> None:
    found = document("cards", [event(1, name="Ada"), event(2, name="Bo")])

    captured = capture(found)

    first, second = raw_events(captured.records)
    assert first == RawEvent(
        source="meadow",
        feed="cards",
        event_key="meadow:2031-05-04:03:01",
        ordinal=1,
        document_hash=found.hash,
        url=found.url,
        fetched_at=NOON,
        historical=False,
        body=event(1, name="Ada"),
    )
    assert second.event_key == "meadow:2031-05-04:03:02"
    assert captured.dead_letters == []


def test_a_record_carries_the_headers_of_its_event() -> None:
    (record,) = capture(document("cards", [event(1)])).records

    assert (record.topic, record.key) == ("raw-events", b"meadow:2031-05-04:03:01")
    assert set(record.headers) == {"event_id", "schema", "traceparent", "revision", "source"}
    assert record.headers["schema"] == b"raw-event/1"


def test_a_slice_stays_as_it_is_to_the_byte() -> None:
    odd = b'{ "heat" :1, "track":3,"day":"2031-05-04",\n "w":52.10, "big":1e400, "name":"\\u677e\\/ ", "w":7 }'

    (record,) = capture(document_of(b'{"cards":[' + odd + b"]}")).records

    assert b'"body":' + odd + b"}" in record.value


def test_text_beyond_ascii_stays_as_it_is() -> None:
    slice_ = '{"day":"2031-05-04","track":3,"heat":1,"name":"松 ｱﾀﾞ"}'.encode()

    (record,) = capture(document_of(b'{"cards":[' + slice_ + b"]}")).records

    assert slice_ in record.value
    assert raw_events([record])[0].body["name"] == "松 ｱﾀﾞ"


def test_unchanged_events_are_left_out() -> None:
    before = capture(document("cards", [event(1, w=52), event(2, w=53)]))

    after = capture(document("cards", [event(1, w=52), event(2, w=53.5)]), before.versions)

    assert [raw.event_key[-2:] for raw in raw_events(after.records)] == ["02"]
    assert raw_events(after.records)[0].ordinal == 2


def test_a_content_that_goes_and_comes_back_gets_three_ids() -> None:
    seen: Mapping[str, SliceVersion] = {}
    ids = []
    for weight in (52, 53, 52):
        captured = capture(document("cards", [event(1, w=weight)]), seen)
        seen = captured.versions
        ids += event_ids(captured.records)

    assert len(set(ids)) == 3


def test_the_id_follows_from_source_feed_event_content_and_ordinal() -> None:
    captured = capture(document("cards", [event(1)]))

    version = captured.versions["meadow:2031-05-04:03:01"]
    expected = event_id_of("meadow", "cards", "meadow:2031-05-04:03:01", version.hash, 1)
    assert event_ids(captured.records) == [str(expected)]


def test_an_event_that_vanishes_is_remembered() -> None:
    before = capture(document("cards", [event(1), event(2)]))

    after = capture(document("cards", [event(2)]), before.versions)

    assert (after.records, after.versions) == ([], before.versions)


def test_events_may_lie_deeper_and_beside_other_things() -> None:
    source = made_source(feeds=[{"name": "cards", "dated": "/x", "events": "data.races"}])
    text = b'{"meta":{"n":1},"data":{"at":"now","races":[{"day":"2031-05-04","track":3,"heat":1}]}}'

    captured = Capture(source, source.feed("cards"))(document_of(text), {})

    assert len(captured.records) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        event(0),
        event(1, track=0),
        event(100),
        {"day": "2031-05-04", "track": 3},
        {"day": "2031-05-04", "track": "3", "heat": 1},
        {"day": None, "track": 3, "heat": 1},
        {"day": "2031-05-03", "track": 3, "heat": 1},
        7,
        [],
        None,
    ],
)
def test_a_slice_that_is_no_event_of_the_day_becomes_a_dead_letter_and_the_rest_goes_on(wrong: object) -> None:
    captured = capture(document("cards", [event(1), wrong, event(2)]))

    assert len(raw_events(captured.records)) == 2
    (letter,) = captured.dead_letters
    assert (letter.topic, orjson.loads(letter.value)) == ("fetcher.dlq", wrong)
    assert letter.headers["dlq.exception-class"] == b"InvalidEvent"
    assert b"expected" in letter.headers["dlq.exception-message"]
    assert letter.headers["dlq.first-failed-at"] == NOON.isoformat().encode()
    assert letter.headers["dlq.original-offset"] == b"-1"


def test_a_slice_is_rejected_once() -> None:
    found = document("cards", [event(1), event(0)])

    again = capture(found, capture(found).versions)

    assert (again.records, again.dead_letters) == ([], [])


def test_a_second_slice_of_an_event_is_rejected() -> None:
    captured = capture(document("cards", [event(1, w=52), event(1, w=53)]))

    assert [raw.body["w"] for raw in raw_events(captured.records)] == [52]
    assert b"each event once" in captured.dead_letters[0].headers["dlq.exception-message"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>busy</html>",
        b"null",
        b"[]",
        b'{"cards": {}}',
        b'{"races": []}',
        b'{"cards": [{"day": "2031-05-04"',
        b'{"cards": [{"day":"2031-05-04","track":3,"heat":1,"x":tru}]}',
        b'{"cards": [{"day":"2031-05-04","track":3,"heat":1}]} tail',
        b'{"cards": [{"day":"2031-05-04","track":3,"heat":1,"name":"\xff"}]}',
        b'{"cards": [1, 2, 3]}',
        pytest.param(b'{"other":' + NESTED + b',"cards":[]}', id="nested beside the events"),
        pytest.param(b'{"cards":[{"day":"2031-05-04","x":' + NESTED + b"}]}", id="nested in an event"),
        pytest.param(NESTED, id="nested"),
    ],
)
def test_a_document_of_another_shape_is_refused_with_its_address(text: bytes) -> None:
    with pytest.raises(InvalidDocument, match=r"/cards/made\.json: "):
        capture(document_of(text))


def test_a_document_of_another_day_is_told_apart() -> None:
    with pytest.raises(WrongDay, match="2031-05-03"):
        capture(document("cards", [event(1, DAY.replace(day=3)), event(2, DAY.replace(day=3))]))


def test_a_document_without_events_is_fine() -> None:
    assert capture(document("cards", [])).records == []


def test_closing_tells_again_what_never_changed_and_what_changed_back() -> None:
    first = capture(document("ends", [event(1), event(2), event(3)]))
    second = capture(document("ends", [event(1), event(2, place=1), event(3, ghost=True)]), first.versions)
    third = capture(document("ends", [event(1), event(2, place=1), event(3)]), second.versions)

    final = document("ends", [event(1), event(2, place=1), event(3)], historical=True)
    closed = capture(final, third.versions, closing=True)

    told = raw_events(closed.records)
    assert [(raw.event_key[-2:], raw.ordinal, raw.historical) for raw in told] == [("01", 2, True), ("03", 4, True)]
    earlier = event_ids([*first.records, *second.records, *third.records])
    assert not set(event_ids(closed.records)) & set(earlier)


def test_closing_tells_only_changes_in_other_feeds() -> None:
    first = capture(document("cards", [event(1), event(2)]))

    closed = capture(document("cards", [event(1), event(2, w=1)], historical=True), first.versions, closing=True)

    assert [raw.event_key[-2:] for raw in raw_events(closed.records)] == ["02"]


def test_what_was_seen_survives_the_cursor() -> None:
    first = capture(document("ends", [event(1)]))
    second = capture(document("ends", [event(1, place=2)]), first.versions)

    assert decode(encode(WindowCursor(seen=second.versions))).seen == second.versions
