"""Replay requests, the records that they select, and the overlap of two replays."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.contract import Record
from shared.errors import ConfigError
from shared.ops.replays import (
    OffsetSpan,
    RecordPointer,
    ReplayPlan,
    ReplayRequest,
    event_time_of,
    overlap,
    plan_of,
    request_of,
    selector_of,
)
from shared.topics import CLEAN, LOADED, PREDICTIONS, RAW, partition_of

DAY = "made-up:2031-05-04"


def record(key: str = f"{DAY}:01:01", /, *, value: bytes | None = None, **fields: Any) -> Record:
    return Record(RAW, 0, 0, 0, key.encode(), orjson.dumps(fields) if value is None else value, {})


def request(**fields: Any) -> ReplayRequest:
    return request_of({"topic": RAW, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"begin": 5, "end": 5}, "must be greater than begin"),
        ({"offsets": {"0": {"begin": 9, "end": 3}}}, "must be greater than begin"),
        ({"offsets": {}}, "offsets"),
        ({"offsets": {"-1": {}}}, "offsets"),
        ({"begin": -1}, "begin"),
        ({"begin": 1, "from": "2031-05-04T00:00:00Z"}, "one window"),
        ({"begin": 1, "offsets": {"0": {}}}, "one window"),
        ({"from": "2031-05-04T00:00:00"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"from": "2031-05-05T00:00:00Z", "to": "2031-05-04T00:00:00Z"}, "later than"),
        ({"time": "event"}, "needs"),
        ({"time": "moon", "from": "2031-05-05T00:00:00Z"}, "time"),
        ({"keys": []}, "keys"),
        ({"keys": [""]}, "keys"),
        ({"kinds": []}, "kinds"),
        ({"topic": CLEAN, "kinds": ["guessed"]}, "unknown kind 'guessed'"),
        ({"topic": PREDICTIONS, "kinds": ["settled"]}, "card, observation"),
        ({"rate": 0}, "rate"),
        ({"rate": -1}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"speed": 3}, "speed"),
        ({"topic": ""}, "topic"),
    ],
)
def test_an_invalid_request_is_refused_with_the_reason(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        request(**fields)


def test_keys_are_exact_or_patterns() -> None:
    selects = selector_of(request(keys=[f"{DAY}:01:01", "made-up:2031-06-*", "made-up:*:0[12]:03"]))

    assert selects(record(f"{DAY}:01:01"))
    assert selects(record("made-up:2031-06-30:09:12"))
    assert selects(record(f"{DAY}:02:03"))
    assert not selects(record(f"{DAY}:01:011"))
    assert not selects(record(f"{DAY}:03:03"))


def test_a_key_that_looks_like_a_pattern_matches_itself() -> None:
    assert selector_of(request(keys=["made-up:[x]"]))(record("made-up:[x]"))


def test_kinds_are_those_of_facts_the_feeds_of_raw_events_and_the_states_of_predictions() -> None:
    selects = selector_of(request(kinds=["programs", "settled", "card"]))

    assert selects(record(feed="programs"))
    assert selects(record(kind="settled"))
    assert selects(record(state="card"))
    assert not selects(record(kind="listed"))
    assert not selects(record(value=b"{"))
    assert not selects(record(value=b"[1]"))


def test_the_event_time_is_that_of_the_record_or_midnight_of_its_day() -> None:
    assert event_time_of(record(scheduled_at="2031-05-04T06:30:00+09:00")) == datetime(2031, 5, 3, 21, 30, tzinfo=UTC)
    assert event_time_of(record()) == datetime(2031, 5, 4, tzinfo=UTC)
    assert event_time_of(record(value=b"{")) == datetime(2031, 5, 4, tzinfo=UTC)
    assert event_time_of(record("made-up:reference:venues")) is None


def test_a_window_of_event_time_includes_its_start_and_excludes_its_end() -> None:
    selects = selector_of(request(**{"time": "event", "from": "2031-05-04T00:00:00Z", "to": "2031-05-04T10:00:00Z"}))

    assert selects(record())
    assert selects(record(scheduled_at="2031-05-04T09:59:59Z"))
    assert not selects(record(scheduled_at="2031-05-04T10:00:00Z"))
    assert not selects(record("made-up:2031-05-03:01:01"))
    assert not selects(record("made-up:reference:venues"))


def test_an_exact_key_has_one_partition_and_a_pattern_has_all() -> None:
    assert request(keys=["a", "b"]).partitions(6) == {partition_of(b"a", 6), partition_of(b"b", 6)}
    assert request(keys=["a", "b*"]).partitions(6) == set(range(6))
    assert request().partitions(3) == {0, 1, 2}


def plan(fields: dict[str, Any] | None = None, spans: dict[int, tuple[int, int]] | None = None) -> ReplayPlan:
    offset_spans = {p: OffsetSpan(*span) for p, span in (spans or {0: (0, 100)}).items()}
    return ReplayPlan(request(**(fields or {})), offset_spans, dict.fromkeys(offset_spans, 1))


def test_a_plan_survives_its_encoding() -> None:
    fields = {"keys": ["a*"], "from": "2031-05-04T00:00:00Z", "rate": 5.0, "notify": True}
    pointer = RecordPointer("raw-events/0/3", "a", "2031-05-04T00:00:00+00:00")
    complete = ReplayPlan(request(**fields), {0: OffsetSpan(3, 9), 5: OffsetSpan(1, 2)}, {0: 4, 5: 1}, pointer, pointer)

    assert plan_of(orjson.loads(orjson.dumps(complete.as_json()))) == complete


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"topic": CLEAN}, {"topic": LOADED}),
        ({"keys": ["a"]}, {"keys": ["b"]}),
        ({"keys": ["a*"]}, {"keys": ["b", "ca"]}),
        ({"keys": ["made-up:2031-05-04:*"]}, {"keys": ["made-up:2031-05-05:*"]}),
        ({"keys": ["*:01"]}, {"keys": ["*:02"]}),
        ({"kinds": ["programs"]}, {"kinds": ["results"]}),
        ({"time": "event", "to": "2031-05-04T00:00:00Z"}, {"time": "event", "from": "2031-05-04T00:00:00Z"}),
    ],
)
def test_replays_that_cannot_select_the_same_record_do_not_overlap(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert overlap(plan(one), plan(other)) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {}),
        ({"keys": ["a"]}, {}),
        ({"keys": ["a*"]}, {"keys": ["ab"]}),
        ({"keys": ["a*b"]}, {"keys": ["ac*"]}),
        ({"keys": ["a"]}, {"kinds": ["programs"]}),
        ({"time": "event", "from": "2031-05-04T00:00:00Z"}, {"to": "2031-05-04T00:00:00Z"}),
    ],
)
def test_replays_that_may_select_the_same_record_overlap(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert overlap(plan(one), plan(other)) == "raw-events/0 from 0 to 100"


def test_adjacent_spans_do_not_overlap() -> None:
    assert overlap(plan(spans={0: (0, 5), 1: (0, 9)}), plan(spans={0: (5, 9), 2: (0, 9)})) is None
    assert overlap(plan(spans={0: (0, 6)}), plan(spans={0: (5, 9)})) == "raw-events/0 from 5 to 6"


_parts = st.lists(st.sampled_from(["a", "b", "*", "?", "[ab]", "[!a]", "]", "["]), min_size=1, max_size=5)
_patterns = _parts.map("".join)


@given(_patterns, _patterns, st.text(alphabet="ab[]", min_size=1, max_size=5))
def test_patterns_that_match_the_same_key_always_overlap(one: str, other: str, key: str) -> None:
    if selector_of(request(keys=[one]))(record(key)) and selector_of(request(keys=[other]))(record(key)):
        assert overlap(plan({"keys": [one]}), plan({"keys": [other]})) is not None
        assert overlap(plan({"keys": [other]}), plan({"keys": [one]})) is not None
