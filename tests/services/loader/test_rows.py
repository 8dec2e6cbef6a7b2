"""Rows have the column order of the schema dictionary, with natural keys."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from services.loader.rows import json_text, known_at_of, rows_of, status_of
from services.loader.schema import FACT_TABLES, Table
from shared.errors import InvalidEvent
from shared.events import Settled
from tests.services.loader.facts import DAY, START, at, entry, key, listed, observed, outcomes, settled


def test_every_row_has_a_value_for_every_column() -> None:
    tables: set[Table] = set()
    for fact in (listed(), observed(), settled()):
        for table, row in rows_of(fact):
            assert len(row) == len(table.columns)
            assert row[0] == key()
            tables.add(table)
    assert tables == set(FACT_TABLES)


def test_an_entry_without_an_entity_refers_to_none() -> None:
    ((_, row),) = rows_of(listed(entries=({"slot": 3},)))
    assert row == (key(), 3, None, "{}", "{}")


def test_equal_values_have_equal_texts_and_nulls_are_left_out() -> None:
    measures = {"b": 2.0, "a": 1.0, "none": None}
    ((_, row),) = rows_of(listed(entries=(entry(1, measures=measures),)))
    assert row[3] == json_text({"a": 1.0, "b": 2.0}) == '{"a":1.0,"b":2.0}'


def test_a_facts_own_time_is_used() -> None:
    assert known_at_of(settled(known=50, known_after_s=900.0), START) == at(50)


def test_an_unknown_time_is_estimated_from_the_start_of_the_event() -> None:
    assert known_at_of(settled(known=None, known_after_s=900.0), START) == at(15)
    assert known_at_of(observed(known=None), START) == START


def test_without_a_schedule_a_fact_is_known_at_the_end_of_its_day() -> None:
    assert known_at_of(settled(known=None, known_after_s=900.0), None) == datetime(2031, 5, 7, tzinfo=UTC)


def test_a_fact_without_a_valid_time_is_refused() -> None:
    timeless = Settled(source="river", event_key="river:table", document_hash="d", status="settled")
    with pytest.raises(InvalidEvent, match="expected known_at"):
        known_at_of(timeless, None)
    with pytest.raises(InvalidEvent, match="calendar"):
        known_at_of(settled(known=None, known_after_s=1e14), START)
    with pytest.raises(InvalidEvent, match="calendar"):
        known_at_of(Settled(source="river", event_key="river:9999-12-31:01:01", document_hash="d", status="void"), None)


def test_the_kind_of_a_fact_gives_the_status_of_its_event() -> None:
    assert [status_of(fact) for fact in (listed(), observed(), settled(status="void"))] == [
        "listed",
        "observed",
        "void",
    ]


def test_outcomes_have_separate_columns_for_place_code_and_refund() -> None:
    rows = [row for table, row in rows_of(settled(outcomes=outcomes(1, None, codes={2: 14}), transactions=()))]
    assert [row[2:4] + row[6:] for row in rows] == [(1, None, False), (None, 14, True)]
    assert date(2031, 5, 6) == DAY
