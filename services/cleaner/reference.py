"""Reads a table of reference data (venues, grades, place codes ...) from a raw event."""

from typing import Any

from services.cleaner.values import describe, text, unexpected
from shared.errors import InvalidEvent
from shared.events import RawEvent, Reference


def read_reference(raw: RawEvent) -> Reference:
    """The table in `raw`, whose body is {"table": name, "rows": [{"code", "name", "attributes"?}, ...]}.

    `known_at` is the time of the fetch, because the source does not publish since when a code is valid.
    """
    table = text(raw.body, "table")
    if raw.event_key != f"{raw.source}:reference:{table}":
        raise InvalidEvent(f"expected the table of {raw.event_key}, got {describe(table)}")
    rows = raw.body.get("rows")
    if not isinstance(rows, list):
        raise unexpected("rows", "an array", rows)
    reference_rows = [_row(row) for row in rows]
    codes = [row["code"] for row in reference_rows]
    if len(set(codes)) < len(codes):
        duplicate_code = next(code for code in codes if codes.count(code) > 1)
        raise InvalidEvent(f"rows: expected every code once, got {describe(duplicate_code)} more than once")
    return Reference.model_validate(
        {
            "source": raw.source,
            "event_key": raw.event_key,
            "known_at": raw.fetched_at,
            "document_hash": raw.document_hash,
            "table": table,
            "rows": reference_rows,
        }
    )


def _row(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise unexpected("rows", "objects", row)
    code, name, attributes = row.get("code"), text(row, "name"), row.get("attributes") or {}
    if code.__class__ is str:
        code = text(row, "code")
    elif code.__class__ is not int or abs(code) >= 10**9:
        raise unexpected("code", "a text or an integer", code)
    if code is None or name is None:
        raise unexpected("rows", "a code and a name in every row", row)
    if attributes.__class__ is not dict:
        raise unexpected("attributes", "an object", attributes)
    for key, value in attributes.items():
        if value.__class__ is str:
            text(attributes, key)
    return {"code": str(code), "name": name, "attributes": attributes}
