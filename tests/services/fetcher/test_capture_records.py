"""The bytes of a raw record are those of its message: other programs and archived topics rely on them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID, uuid5

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.fetcher.capture_records import HOP, SCHEMA, DocumentRecords
from services.fetcher.planning.cursor import SliceVersion
from services.fetcher.sources.documents import Document
from shared.events import NAMESPACE, event_id_hex_of, event_id_of
from shared.records import headers_of

KEY = "meadow:2031-05-04:03:01"
FETCHED_AT = datetime(2031, 5, 4, 12, 0, 0, 250, tzinfo=UTC)
PUBLISHED_AT = datetime(2031, 5, 4, 11, 59, tzinfo=UTC)


@pytest.mark.parametrize("published_at", [None, PUBLISHED_AT])
@pytest.mark.parametrize("url", ["/cards/20310504.json", '/a"b\\c{d}é\n'])
@pytest.mark.parametrize("ordinal", [1, 12])
def test_the_value_is_the_json_of_all_fields_with_the_slice_unchanged(
    published_at: datetime | None, url: str, ordinal: int
) -> None:
    document = Document("cards", date(2031, 5, 4), url, b"[]", FETCHED_AT, published_at, historical=True)
    body = b'{ "w" : 52.50, "name":"\xc3\x89" }'

    record = DocumentRecords("meadow", document).record(KEY, msgspec.Raw(body), SliceVersion("ab", ordinal))

    fields = {
        "schema_version": 1,
        "source": "meadow",
        "feed": "cards",
        "event_key": KEY,
        "ordinal": ordinal,
        "document_hash": document.hash,
        "url": url,
        "fetched_at": FETCHED_AT,
        "published_at": published_at,
        "historical": True,
        "body": orjson.Fragment(body),
    }
    assert record.value == orjson.dumps(fields)
    assert record.headers == headers_of(event_id_of("meadow", "cards", KEY, "ab", ordinal), SCHEMA, "meadow", HOP)


@given(st.text(max_size=60), st.integers(min_value=1, max_value=10_000))
def test_the_digits_of_an_event_id_are_those_of_a_version_5_uuid(key: str, ordinal: int) -> None:
    name = f"meadow/cards/{key}/ab" + ("" if ordinal == 1 else f"/{ordinal}")

    assert UUID(event_id_hex_of("meadow", "cards", key, "ab", ordinal)) == uuid5(NAMESPACE, name)
