"""Writes the raw records of one document. Most bytes of its records are the same and are encoded once."""

from __future__ import annotations

import msgspec
import orjson

from services.fetcher.planning.cursor import SliceVersion
from services.fetcher.sources.documents import Document
from shared.broker.contract import NewRecord
from shared.events import event_id_hex_of
from shared.records import SharedHeaders
from shared.topics import RAW

SCHEMA = "raw-event/1"
HOP = "fetcher"


class DocumentRecords:
    """The records of `document`. Each is the JSON of a RawEvent (shared/events.py) with the slice's own bytes."""

    def __init__(self, source: str, document: Document) -> None:
        self._source = source
        self._feed = document.feed
        self._headers = SharedHeaders(SCHEMA, source, HOP)
        event = {"schema_version": 1, "source": source, "feed": document.feed, "event_key": ""}
        origin = {
            "document_hash": document.hash,
            "url": document.url,
            "fetched_at": document.fetched_at,
            "published_at": document.published_at,
            "historical": document.historical,
        }
        self._before_key = orjson.dumps(event).removesuffix(b'"}')
        self._before_body = orjson.dumps(origin).replace(b"{", b",", 1).removesuffix(b"}") + b',"body":'
        self._after_first_key = self._after_key(1)

    def _after_key(self, ordinal: int) -> bytes:
        return b'","ordinal":%d' % ordinal + self._before_body

    def record(self, event_key: str, body: msgspec.Raw, version: SliceVersion) -> NewRecord:
        """The characters of an `event_key` need no escapes in JSON (shared/events.py)."""
        key = event_key.encode()
        after_key = self._after_first_key if version.ordinal == 1 else self._after_key(version.ordinal)
        value = b"".join((self._before_key, key, after_key, body, b"}"))
        event_id = event_id_hex_of(self._source, self._feed, event_key, version.hash, version.ordinal)
        return NewRecord(RAW, key, value, self._headers.of_hex(event_id))
