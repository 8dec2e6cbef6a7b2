"""Tables for people fit the width; `wide` prints every value in full."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from headrace.terminal.table import TABLE_WIDTH, table_lines, text_of

AT = datetime(2026, 3, 2, 10, 20, 31, 123456, tzinfo=UTC)
LONG = "expected a slot from 1 to 6, got 9, in the entry of a boat that " + "is not listed, " * 20


def test_a_column_is_as_wide_as_its_widest_cell() -> None:
    assert table_lines(("service", "records"), [("cleaner", 12), ("fetcher", 1234)], TABLE_WIDTH) == [
        "service  records",
        "-------  -------",
        "cleaner       12",
        "fetcher    1,234",
    ]


def test_long_text_is_cut_with_an_ellipsis_if_the_table_would_be_too_wide() -> None:
    lines = table_lines(("id", "error", "attempts"), [("x", LONG, 3)], TABLE_WIDTH)

    assert [len(line) for line in lines] == [TABLE_WIDTH] * 3
    assert lines[-1].endswith("…         3")


def test_prose_is_cut_before_identifiers() -> None:
    event_id = "00000000-0000-0000-0000-000000000007"

    line = table_lines(("event_id", "key", "why"), [(event_id, "boatrace:2026-01-31:07:04", LONG)], TABLE_WIDTH)[-1]

    assert line.startswith(f"{event_id}  boatrace:2026-01-31:07:04  expected")
    assert line.endswith("…")


def test_full_width_characters_count_twice() -> None:
    lines = table_lines(("name", "n"), [("平和島", 1), ("a", 2)], TABLE_WIDTH)

    assert lines == ["name    n", "------  -", "平和島  1", "a       2"]


def test_wide_prints_every_value_in_full() -> None:
    lines = table_lines(("error", "at", "seconds"), [(LONG, AT, 1 / 3)], None)

    assert lines[-1] == f"{LONG.strip()}   2026-03-02 10:20:31.123456  {1 / 3!r}"


@pytest.mark.parametrize("at", [AT, AT.astimezone(timezone(timedelta(hours=9))), "2026-03-02T10:20:31.123456Z"])
def test_times_are_in_utc_to_the_second_and_the_header_names_the_zone(at: datetime | str) -> None:
    lines = table_lines(("at", "until"), [(at, None), (None, "never")], TABLE_WIDTH, times=("at", "until"))

    assert lines == [
        "at (UTC)             until (UTC)",
        "-------------------  -----------",
        "2026-03-02 10:20:31",
        "                     never",
    ]


def test_a_row_is_printed_as_a_block_if_its_columns_cannot_fit() -> None:
    columns = [f"column_{n}" for n in range(20)]

    lines = table_lines(columns, [[f"value {n}" for n in range(20)], [*[None] * 19, LONG]], TABLE_WIDTH)

    assert lines[:2] == ["column_0   value 0", "column_1   value 1"]
    assert lines[20:22] == ["", "column_0"]
    assert lines[-1].startswith("column_19  expected a slot")
    assert max(map(len, lines)) == TABLE_WIDTH


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert table_lines(("key",), [("a\n\x1b[31mb",)], TABLE_WIDTH)[-1] == "a  [31mb"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "yes"), (1234, "1,234"), (1234.56, "1,234.6"), ({"a": [1]}, '{"a":[1]}'), ("a b", "a b")],
)
def test_values_are_formatted_as_text(value: object, text: str) -> None:
    assert text_of(value) == text
