"""What planning reads from the events of a document."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from services.fetcher.planning.cursor import Timetable
from services.fetcher.planning.slices import DocumentFindings, PlanningKeys, has_value, start_of

TOKYO = ZoneInfo("Asia/Tokyo")
NOON_S = round(datetime(2031, 5, 4, 3, 0, tzinfo=UTC).timestamp())


@pytest.mark.parametrize("raw", [None, b"", b"null", b" null ", b"[ ]", b"{\n}", b'""', b'" "'])
def test_null_and_empty_are_no_values(raw: bytes | None) -> None:
    assert not has_value(raw)


@pytest.mark.parametrize("raw", [b"0", b"false", b"[null]", b'"x"', b" " * 1_000_000 + b"1"])
def test_anything_else_is_a_value(raw: bytes) -> None:
    assert has_value(raw)


@pytest.mark.parametrize("raw", [b'"2031-05-04 12:00:00"', b'"2031-05-04T12:00:00+09:00"', b'"2031-05-04T03:00:00Z"'])
def test_a_start_without_a_zone_is_in_that_of_the_source(raw: bytes) -> None:
    assert start_of(raw, TOKYO) == NOON_S


@pytest.mark.parametrize("raw", [None, b"null", b"12", b'"noon"', b'"0001-01-01 00:00:00"', b"{"])
def test_anything_else_is_no_start(raw: bytes | None) -> None:
    assert start_of(raw, TOKYO) is None


def test_findings_count_values_and_collect_starts_and_settled_events() -> None:
    findings = DocumentFindings(PlanningKeys(("place",), "start", "place"), TOKYO)

    values = {"place": [b"1", b"null"], "start": [b'"2031-05-04 12:00:00"', b"null"]}
    findings.add(["03:01", "03:02"], values.__getitem__)

    assert findings.valued == 1
    assert findings.timetable(None) == Timetable({"03:01": NOON_S}, frozenset({"03:01"}))


def test_without_keys_for_values_none_are_counted() -> None:
    assert DocumentFindings(PlanningKeys(), TOKYO).valued is None
