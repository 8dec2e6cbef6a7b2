"""Every view as a frame: the rows of `headrace sql --json`, the types of the catalogue, the selection of rows."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest

from headrace.frames import Headrace, connect
from headrace.frames.catalogue import VIEWS
from tests.headrace.frames.conftest import NEXT, SqlRows
from tests.headrace.frames.rows import STORED, frame_of, rows_of, statement_for
from tests.services.loader.facts import DAY, key

DAYLESS = ("source",)
RESULTS = """
select o.event_key, e.session_key, s.source, s.date, s.venue, e.number, e.scheduled_at, e.status, o.slot, n.entity_key,
       o.place, o.code, o.course, o.start_timing_s, o.refunded from outcomes o join events e using (event_key)
join sessions s using (session_key) left join entries n using (event_key, slot) order by o.event_key, o.slot
"""


@pytest.mark.parametrize("name", STORED)
def test_a_frame_has_the_rows_of_headrace_sql(hr: Headrace, sql_rows: SqlRows, name: str) -> None:
    rows = rows_of(frame_of(hr, name))

    assert rows == sql_rows(statement_for(VIEWS[name]))


def test_the_hand_made_events_fill_every_view_but_some_reference_data(hr: Headrace) -> None:
    empty = {name for name in VIEWS if frame_of(hr, name).empty}

    assert empty <= {"grades", "classes", "weathers", "wind_directions", "techniques", "place_codes", "branches"}


def test_results_join_outcomes_with_their_event_session_and_entity(hr: Headrace, sql_rows: SqlRows) -> None:
    frame = hr.results()

    assert rows_of(frame.drop(columns=["win_amount", "place_amount"])) == sql_rows(RESULTS)


def test_a_market_counts_in_results_as_in_the_return_rates(hr: Headrace) -> None:
    amounts = hr.results(DAY, venue=7).set_index(["event_key", "slot"])["win_amount"]

    assert amounts.loc[key(1)].tolist() == [160, 0, 0, 0]
    assert amounts.loc[key(2)].tolist()[:2] == [160, 0]
    assert pd.isna(amounts.loc[key(2), 3])  # refunded
    assert amounts.loc[key(3)].isna().all()  # a missing market


@pytest.mark.parametrize("name", VIEWS)
def test_types_are_those_of_the_catalogue_with_and_without_rows(hr: Headrace, name: str) -> None:
    expected = {column.name: column.dtype for column in VIEWS[name].columns}
    selection: dict[str, Any] = {"source": "nowhere"} if VIEWS[name].scope in DAYLESS else {"day": date(1999, 1, 1)}

    full, empty = frame_of(hr, name), frame_of(hr, name, **selection)

    assert {column: str(kind) for column, kind in full.dtypes.items()} == expected
    assert {column: str(kind) for column, kind in empty.dtypes.items()} == expected
    assert empty.empty


@pytest.mark.parametrize("name", VIEWS)
def test_models_accept_every_frame(hr: Headrace, name: str) -> None:
    frame = frame_of(hr, name)

    frame.headrace.validate()
    frame.iloc[:0].headrace.validate()


def test_a_category_has_the_whole_vocabulary_of_its_column(hr: Headrace) -> None:
    assert list(hr.events("1999").status.cat.categories) == list(VIEWS["events"].column("status").values)


@pytest.mark.parametrize(
    ("selection", "days"),
    [
        ({"span": DAY.isoformat()}, {DAY}),
        ({"day": DAY}, {DAY}),
        ({"span": pd.Timestamp(DAY)}, {DAY}),
        ({"span": "2031-05"}, {DAY, NEXT}),
        ({"span": "2031"}, {DAY, NEXT}),
        ({"span": "2031-05-07/2031-06"}, {NEXT}),
        ({"from_day": NEXT}, {NEXT}),
        ({"to_day": DAY}, {DAY}),
        ({"from_day": NEXT + timedelta(days=1)}, set()),
        ({}, {DAY, NEXT}),
    ],
)
def test_days_select_sessions_and_their_events(hr: Headrace, selection: dict[str, Any], days: set[date]) -> None:
    assert set(hr.sessions(**selection).date.dt.date) == days
    assert set(hr.events(**selection).event_key.str.split(":").str[1]) == {day.isoformat() for day in days}


def test_venue_source_and_event_select_too(hr: Headrace) -> None:
    assert set(hr.events(venue=12).event_key) == {key(1, venue=12)}
    assert set(hr.events(DAY, venue=[7, 12]).event_key) == {*(key(n) for n in range(1, 6)), key(1, venue=12)}
    assert hr.events(source="nowhere").empty
    assert set(hr.outcomes(event=[key(1), key(2)]).event_key) == {key(1), key(2)}
    assert set(hr.parked(DAY, venue=7).event_key) == {key(9)}
    assert hr.parked(NEXT).empty
    assert len(hr.dead_letters(DAY)) == 1
    assert hr.dead_letters(NEXT).empty
    assert set(hr.entities(DAY, venue=12).entity_key) == {f"river:{100 + slot}" for slot in range(1, 5)}


def test_columns_of_a_view_select_too(hr: Headrace) -> None:
    assert set(hr.transactions(market="win").market) == {"win"}
    assert set(hr.predictions(head=["trend", "top3"])["head"]) == {"trend", "top3"}
    assert set(hr.predictions(shadow=True).model_version) == {"m-two"}
    assert set(hr.return_rates(scope="venue", market=["win"]).scope) == {"venue"}


def test_columns_keep_the_order_of_the_request(hr: Headrace) -> None:
    assert list(hr.predictions(DAY, columns=["probability", "event_key", "slot"])) == [
        "probability",
        "event_key",
        "slot",
    ]
    assert list(hr.events(columns=["status"])) == ["status"]


def test_attributes_name_the_query_and_the_snapshot(hr: Headrace) -> None:
    attributes = hr.events(DAY, venue=[7, 12]).attrs

    assert attributes["query"] == {"view": "events", "days": "2031-05-06", "venue": "7, 12"}
    assert pd.Timestamp(attributes["as_of"]).tzinfo is not None
    assert attributes["version"]


def test_times_are_in_the_zone_of_the_connection(hand_made: str, hr: Headrace) -> None:
    with connect(hand_made, zone="Asia/Tokyo") as tokyo:
        local = tokyo.events(DAY).scheduled_at

    assert str(local.dtype) == "datetime64[us, Asia/Tokyo]"
    assert (local == hr.events(DAY).scheduled_at).all()


@pytest.mark.parametrize("name", VIEWS)
def test_table_and_polars_have_the_same_rows(hr: Headrace, name: str) -> None:
    table, frame, expected = hr.table(name), hr.polars(name), frame_of(hr, name)

    assert table.column_names == frame.columns == list(VIEWS[name].names)
    for column in VIEWS[name].key:
        values = [None if pd.isna(value) else value for value in expected[column].tolist()]
        assert table.column(column).to_pylist() == frame[column].to_list() == values


def test_sql_gives_the_types_of_frames(hr: Headrace) -> None:
    row = hr.sql(
        "select 1::smallint as a, 2 as b, 3::bigint as c, 0.5::float8 as d, 2.5::numeric as e, 'x' as f, true as g,"
        " null::boolean as h, date '2031-05-06' as i, timestamptz '2031-05-06 09:00+09' as j, '{\"k\": 1}'::jsonb as l,"
        " array['m', null] as m, '00000000-0000-0000-0000-000000000001'::uuid as n, null::numeric as o"
    )

    assert [str(kind) for kind in row.dtypes] == [
        "Int16", "Int32", "Int64", "float64", "float64", "str", "bool", "boolean", "datetime64[s]",
        "datetime64[us, UTC]", "object", "object", "str", "float64",
    ]  # fmt: skip
    assert row.l[0] == {"k": 1}
    assert row.m[0] == ["m", None]
    assert row.n[0] == "00000000-0000-0000-0000-000000000001"


def test_sql_takes_comments_a_semicolon_and_repeated_names(hr: Headrace) -> None:
    frame = hr.sql("select 1 as n, 2 as n -- two columns of the same name\n;")

    assert frame.to_numpy().tolist() == [[1, 2]]
    assert hr.sql("select 3 as n -- the end").n.tolist() == [3]


def test_a_frame_with_both_kinds_of_json_becomes_wide(hr: Headrace) -> None:
    frame = hr.entries(DAY, event=key(1)).headrace.wide()

    assert list(frame.columns) == ["event_key", "slot", "entity_key", "age_years", "weight_kg", "motor_number"]
    assert frame.weight_kg.tolist() == [51.0, 52.0, 53.0, 54.0]
