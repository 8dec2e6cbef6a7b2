"""The headers of cleaned records, and withdrawals."""

from __future__ import annotations

from uuid import uuid4

import pytest

from services.cleaner.handle import Cleaner
from shared.broker.contract import Record
from shared.events import Withdrawal
from shared.records import FETCHED_AT, LIVE, DecodedRecord, decode
from shared.topics import RAW
from tests.services.cleaner.synthetic_slices import FETCHED_AT as FETCH_TIME
from tests.services.cleaner.synthetic_slices import NO_WEATHER, blank_preview_boat, card, preview, raw


@pytest.mark.parametrize(
    ("historical", "revision", "expected"),
    [(False, LIVE, FETCH_TIME.isoformat().encode()), (True, LIVE, None), (False, "000000000001", None)],
    ids=["live", "past day", "replayed"],
)
def test_only_a_live_record_has_the_time_of_the_fetch(historical: bool, revision: str, expected: bytes | None) -> None:
    message = raw("programs", card(), historical=historical)

    (output,) = Cleaner(print).handle([DecodedRecord(message, uuid4(), revision, Record(RAW, 0, 0, 0, b"", b"", {}))])

    assert output.headers.get(FETCHED_AT) == expected


@pytest.mark.parametrize(("revision", "count"), [(LIVE, 0), ("000000000001", 1)], ids=["live", "replayed"])
def test_a_replayed_record_without_a_fact_withdraws_an_earlier_one(revision: str, count: int) -> None:
    message = raw("previews", preview(boats=[blank_preview_boat(number) for number in range(1, 7)], **NO_WEATHER))
    received = DecodedRecord(message, uuid4(), revision, Record(RAW, 0, 0, 0, b"", b"", {}))

    outputs = Cleaner(print).handle([received])

    assert len(outputs) == count
    for output in outputs:
        item = decode(Record(output.topic, 0, 0, 0, output.key, output.value, output.headers))
        assert (item.event_id, item.revision) == (received.event_id, revision)
        assert item.message == Withdrawal(
            source=message.source, event_key=message.event_key, fact="observed", reason="nothing observed yet",
            document_hash=message.document_hash,
        )  # fmt: skip
