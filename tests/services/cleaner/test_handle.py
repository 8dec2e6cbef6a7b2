"""The headers of cleaned records, and withdrawals."""

from __future__ import annotations

from uuid import uuid4

import pytest

from services.cleaner.handle import Cleaner
from shared.broker.contract import Record
from shared.records import FETCHED_AT, LIVE, DecodedRecord
from shared.topics import RAW
from tests.services.cleaner.synthetic_slices import FETCHED_AT as FETCH_TIME
from tests.services.cleaner.synthetic_slices import card, raw

NOTHING_OBSERVED = {"boats": {}}


@pytest.mark.parametrize(
    ("historical", "revision", "expected"),
    [(False, LIVE, FETCH_TIME.isoformat().encode()), (True, LIVE, None), (False, "000000000001", None)],
    ids=["live", "past day", "replayed"],
)
def test_only_a_live_record_has_the_time_of_the_fetch(historical: bool, revision: str, expected: bytes | None) -> None:
    message = raw("programs", card(), historical=historical)

    (output,) = Cleaner(print).handle([DecodedRecord(message, uuid4(), revision, Record(RAW, 0, 0, 0, b"", b"", {}))])

    assert output.headers.get(FETCHED_AT) == expected
