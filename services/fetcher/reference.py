"""Turns the declared reference tables into records: one per table, when it is new or changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

import orjson

from services.fetcher.capture_records import HOP, SCHEMA
from services.fetcher.planning.cursor import SliceVersion, WindowCursor, decode, encode
from services.fetcher.sources.declaration import REFERENCE, Source
from shared.broker.contract import NewRecord
from shared.events import RawEvent, ReferenceRow, event_id_of
from shared.records import headers_of
from shared.runtime.loops.handler import SourceStep
from shared.topics import RAW


def reference_step(source: Source, cursors: Mapping[str, bytes], now: datetime) -> SourceStep:
    """Records and cursors of the tables that differ from the version in their cursors."""
    step = SourceStep([], {})
    for table, rows in source.reference.items():
        key = f"{source.name}/{REFERENCE}/{table}"
        body = {"table": table, "rows": [row.model_dump() for row in rows]}
        hash_ = _hash(rows)
        before = decode(cursors[key]).seen.get(table) if key in cursors else None
        if before is not None and before.hash == hash_:
            continue
        version = SliceVersion(hash_, 1) if before is None else before.next(hash_)
        raw = RawEvent(
            source=source.name,
            feed=REFERENCE,
            event_key=f"{source.name}:{REFERENCE}:{table}",
            ordinal=version.ordinal,
            document_hash=hash_,
            url=f"sources/{source.name}.yaml#{table}",
            fetched_at=now,
            historical=False,
            body=body,
        )
        step.records.append(_record(raw, version))
        step.cursors[key] = encode(WindowCursor(state="done", document=hash_, fetched_at=now, seen={table: version}))
    return step


def _hash(rows: tuple[ReferenceRow, ...]) -> str:
    return hashlib.sha256(orjson.dumps([row.model_dump() for row in rows], option=orjson.OPT_SORT_KEYS)).hexdigest()


def _record(raw: RawEvent, version: SliceVersion) -> NewRecord:
    event_id = event_id_of(raw.source, raw.feed, raw.event_key, version.hash, version.ordinal)
    headers = headers_of(event_id, SCHEMA, raw.source, HOP)
    return NewRecord(RAW, raw.event_key.encode(), raw.model_dump_json(exclude_none=True).encode(), headers)
