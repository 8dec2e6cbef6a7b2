"""Splitting a document into one raw event for each event that changed."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from services.fetcher.capture import Capture, CaptureResult, WrongDay
from services.fetcher.planning.cursor import SliceVersion, WindowCursor, decode, encode
from services.fetcher.sources.declaration import MAX_SLICE_BYTES
from services.fetcher.sources.documents import Document
from shared.errors import InvalidDocument
from shared.events import RawEvent, event_id_of
from tests.services.fetcher.synthetic_documents import DAY, NOON, document, event, event_ids, made_source, raw_events

SOURCE = made_source()
# Deeper than any parser supports: msgspec raises RecursionError.
NESTED = b"[" * 100_000 + b"]" * 100_000


def capture(
    source_document: Document, versions: Mapping[str, SliceVersion] | None = None, closing: bool = False
) -> CaptureResult:
    return Capture(SOURCE, SOURCE.feed(source_document.feed))(source_document, versions or {}, closing)


def document_of(text: bytes, feed: str = "cards") -> Document:
    return Document(feed, DAY, "/cards/made.json", text, NOON)


def test_each_event_becomes_its_own_raw_event() -> None:
    cards = document("cards", [event(1, name="Ada"), event(2, name="Bo")])

    result = capture(cards)

    first, second = raw_events(result.records)
    assert first == RawEvent(
        source="meadow",
        feed="cards",
        event_key="meadow:2031-05-04:03:01",
        ordinal=1,
        document_hash=cards.hash,
        url=cards.url,
        fetched_at=NOON,
        historical=False,
        body=event(1, name="Ada"),
    )
    assert second.event_key == "meadow:2031-05-04:03:02"
    assert result.dead_letters == []


def test_a_record_has_the_headers_of_its_event() -> None:
    (record,) = capture(document("cards", [event(1)])).records

    assert (record.topic, record.key) == ("raw-events", b"meadow:2031-05-04:03:01")
    assert set(record.headers) == {"event_id", "schema", "traceparent", "revision", "source"}
    assert record.headers["schema"] == b"raw-event/1"


def test_a_slice_keeps_its_bytes() -> None:
    unusual = b'{ "heat" :1, "track":3,"day":"2031-05-04",\n "w":52.10, "big":1e300, "name":"\\u677e\\/ ", "w":7 }'

    (record,) = capture(document_of(b'{"cards":[' + unusual + b"]}")).records

    assert b'"body":' + unusual + b"}" in record.value


def test_non_ascii_text_keeps_its_bytes() -> None:
    slice_ = '{"day":"2031-05-04","track":3,"heat":1,"name":"松 ｱﾀﾞ"}'.encode()

    (record,) = capture(document_of(b'{"cards":[' + slice_ + b"]}")).records

    assert slice_ in record.value
    assert raw_events([record])[0].body["name"] == "松 ｱﾀﾞ"


def test_unchanged_events_are_left_out() -> None:
    before = capture(document("cards", [event(1, w=52), event(2, w=53)]))

    after = capture(document("cards", [event(1, w=52), event(2, w=53.5)]), before.versions)

    assert [raw.event_key[-2:] for raw in raw_events(after.records)] == ["02"]
    assert raw_events(after.records)[0].ordinal == 2


def test_a_content_that_changes_and_changes_back_gets_three_ids() -> None:
    versions: Mapping[str, SliceVersion] = {}
    ids = []
    for weight in (52, 53, 52):
        result = capture(document("cards", [event(1, w=weight)]), versions)
        versions = result.versions
        ids += event_ids(result.records)

    assert len(set(ids)) == 3


def test_the_id_is_derived_from_source_feed_event_content_and_ordinal() -> None:
    result = capture(document("cards", [event(1)]))

    version = result.versions["meadow:2031-05-04:03:01"]
    expected = event_id_of("meadow", "cards", "meadow:2031-05-04:03:01", version.hash, 1)
    assert event_ids(result.records) == [str(expected)]


def test_an_event_that_disappears_stays_in_the_versions() -> None:
    before = capture(document("cards", [event(1), event(2)]))

    after = capture(document("cards", [event(2)]), before.versions)

    assert (after.records, after.versions) == ([], before.versions)


def test_events_may_be_nested_and_beside_other_fields() -> None:
    source = made_source(feeds=[{"name": "cards", "dated": "/x", "events": "data.races"}])
    text = b'{"meta":{"n":1},"data":{"at":"now","races":[{"day":"2031-05-04","track":3,"heat":1}]}}'

    result = Capture(source, source.feed("cards"))(document_of(text), {})

    assert len(result.records) == 1


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
    result = capture(document("cards", [event(1), wrong, event(2)]))

    assert len(raw_events(result.records)) == 2
    (letter,) = result.dead_letters
    assert (letter.topic, orjson.loads(letter.value)) == ("fetcher.dlq", wrong)
    assert letter.headers["dlq.exception-class"] == b"InvalidEvent"
    assert b"expected" in letter.headers["dlq.exception-message"]
    assert letter.headers["dlq.first-failed-at"] == NOON.isoformat().encode()
    assert letter.headers["dlq.original-offset"] == b"-1"


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"w": 10**30}, b"expected numbers of 64 bits, got 1000"),
        ({"w": "x" * 500}, b"expected an event of at most 300 bytes, got 5"),
    ],
)
def test_an_event_beyond_a_limit_becomes_a_dead_letter_and_the_rest_goes_on(
    fields: dict[str, Any], cause: bytes
) -> None:
    source = made_source(http={"max_event_bytes": 300})

    result = Capture(source, source.feed("cards"))(document("cards", [event(1), event(2, **fields), event(3)]), {})

    assert [each.body["heat"] for each in raw_events(result.records)] == [1, 3]
    (letter,) = result.dead_letters
    assert b'"heat":2' in letter.value
    assert cause in letter.headers["dlq.exception-message"]


def test_each_distinct_rejected_slice_becomes_one_dead_letter_and_is_not_stored_in_the_versions() -> None:
    result = capture(document("cards", [event(1), event(0), event(0), event(0, w=1)]))

    assert [orjson.loads(letter.value) for letter in result.dead_letters] == [event(0), event(0, w=1)]
    assert list(result.versions) == ["meadow:2031-05-04:03:01"]


def test_hashes_of_rejected_slices_in_an_older_cursor_are_dropped() -> None:
    before = {"0123456789abcdef": SliceVersion("0123456789abcdef", 1)}

    assert list(capture(document("cards", [event(1)]), before).versions) == ["meadow:2031-05-04:03:01"]


@pytest.mark.parametrize(("events", "junk"), [(99, 24), (10, 20)])
def test_a_document_with_some_rejected_slices_is_accepted(events: int, junk: int) -> None:
    result = capture(document("cards", [*map(event, range(1, events + 1)), *({"junk": n} for n in range(junk))]))

    assert (len(result.records), len(result.dead_letters)) == (events, junk)


@pytest.mark.parametrize(("events", "junk"), [(99, 25), (10, 21)])
def test_a_document_with_too_many_rejected_slices_is_refused(events: int, junk: int) -> None:
    with pytest.raises(InvalidDocument, match="too many of"):
        capture(document("cards", [*map(event, range(1, events + 1)), *({"junk": n} for n in range(junk))]))


def test_repetitions_of_an_event_count_as_rejected() -> None:
    with pytest.raises(InvalidDocument, match="each event once"):
        capture(document("cards", [event(1)] * 30))


LIMITED = made_source(http={"max_events": 3})


def test_a_document_with_more_events_than_allowed_is_refused() -> None:
    with pytest.raises(InvalidDocument, match="at most 3 events, got 4"):
        Capture(LIMITED, LIMITED.feed("cards"))(document("cards", map(event, range(1, 5))), {})


def test_a_day_with_ever_new_events_is_refused() -> None:
    """Otherwise the cursor would grow beyond the size of a record."""
    capture_limited = Capture(LIMITED, LIMITED.feed("cards"))
    versions = capture_limited(document("cards", map(event, (1, 2, 3))), {}).versions
    versions = capture_limited(document("cards", map(event, (4, 5, 6))), versions).versions

    with pytest.raises(InvalidDocument, match="at most 6 events over all documents"):
        capture_limited(document("cards", [event(7)]), versions)


@pytest.mark.parametrize("junk", [b"1", b"{}", b'{"a":[]}', b"[]"])
def test_millions_of_elements_are_refused_before_they_become_objects(junk: bytes) -> None:
    text = b'{"cards":[{"day":"2031-05-04","track":3,"heat":1},' + b",".join([junk] * 1_000_000) + b"]}"
    tracemalloc.start()
    try:
        with pytest.raises(InvalidDocument, match=r"at most 2,000 events|Expected `object`"):
            capture(document_of(text))
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_large_document_of_few_events_is_accepted() -> None:
    result = capture(document("cards", [event(number, values=[0] * 60_000) for number in range(1, 5)]))

    assert len(result.records) == 4


def test_a_slice_above_the_size_limit_becomes_a_dead_letter_that_is_cut() -> None:
    result = capture(document("cards", [event(1), event(2, padding="a" * 3_000_000)]))

    (letter,) = result.dead_letters
    assert len(result.records) == 1
    assert len(letter.value) == MAX_SLICE_BYTES
    assert b"at most 1,048,576 bytes" in letter.headers["dlq.exception-message"]
    assert b"(cut to 1,048,576 bytes)" in letter.headers["dlq.exception-message"]


def test_a_second_slice_of_an_event_is_rejected() -> None:
    result = capture(document("cards", [event(1, w=52), event(1, w=53)]))

    assert [raw.body["w"] for raw in raw_events(result.records)] == [52]
    assert b"each event once" in result.dead_letters[0].headers["dlq.exception-message"]


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
def test_a_document_of_another_shape_is_refused_with_its_url(text: bytes) -> None:
    with pytest.raises(InvalidDocument, match=r"/cards/made\.json: "):
        capture(document_of(text))


def test_a_document_of_another_day_raises_wrong_day() -> None:
    with pytest.raises(WrongDay, match="2031-05-03"):
        capture(document("cards", [event(1, DAY.replace(day=3)), event(2, DAY.replace(day=3))]))


def test_a_document_without_events_gives_no_records() -> None:
    assert capture(document("cards", [])).records == []


def test_closing_emits_again_events_that_never_changed_or_changed_back() -> None:
    first = capture(document("ends", [event(1), event(2), event(3)]))
    second = capture(document("ends", [event(1), event(2, place=1), event(3, ghost=True)]), first.versions)
    third = capture(document("ends", [event(1), event(2, place=1), event(3)]), second.versions)

    final = document("ends", [event(1), event(2, place=1), event(3)], historical=True)
    closed = capture(final, third.versions, closing=True)

    raws = raw_events(closed.records)
    assert [(raw.event_key[-2:], raw.ordinal, raw.historical) for raw in raws] == [("01", 2, True), ("03", 4, True)]
    earlier = event_ids([*first.records, *second.records, *third.records])
    assert not set(event_ids(closed.records)) & set(earlier)


def test_closing_emits_only_changes_in_other_feeds() -> None:
    first = capture(document("cards", [event(1), event(2)]))

    closed = capture(document("cards", [event(1), event(2, w=1)], historical=True), first.versions, closing=True)

    assert [raw.event_key[-2:] for raw in raw_events(closed.records)] == ["02"]


def test_seen_versions_survive_the_cursor() -> None:
    first = capture(document("ends", [event(1)]))
    second = capture(document("ends", [event(1, place=2)]), first.versions)

    assert decode(encode(WindowCursor(seen=second.versions))).seen == second.versions
