"""Parquet files of the days: the same rows as the CSV files, with types, readable by other programs."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

from services.loader.exports.arrow_types import parse_array
from services.loader.exports.manifest import Format
from services.loader.exports.parquet import write_parquet
from services.loader.exports.tables import TABLES
from services.loader.exports.target import ExportError
from tests.services.loader.exports.conftest import Export, MakeExport, Store
from tests.services.loader.facts import DAY, START, listed, observed, prediction, settled

BOTH: tuple[Format, ...] = ("csv", "parquet")


@pytest.fixture
def both(store: Store, make_export: MakeExport) -> Export:
    """A day in both formats, with quotes, line ends, empty texts and unknown values in it."""
    export = make_export(formats=BOTH)
    store(
        listed(1, title='a "quoted", title\nwith two lines'),
        observed(1),
        settled(1, missing_markets=("win", "exacta")),
        listed(2, title="", distance_m=None),
        settled(2, status="void", outcomes=(), transactions=()),
        prediction(1),
    )
    export.run()
    return export


def text_of(value: Any) -> str:
    """A value as PostgreSQL writes it into CSV."""
    match value:
        case None:
            return ""
        case bool():
            return "t" if value else "f"
        case datetime():
            text = value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".")
            return f"{text}+00"
        case list():
            return "{" + ",".join(value) + "}"
        case float():
            return repr(value).removesuffix(".0")
    return str(value)


def test_parquet_has_the_rows_of_the_csv_files(both: Export) -> None:
    files = both.verified_files()
    for table in TABLES:
        rows = pyarrow.parquet.read_table(io.BytesIO(files[table, "parquet"])).to_pylist()
        csv_rows = [
            {name: value for name, value in row.items() if name != "date"}
            for row in csv.DictReader(io.StringIO(files[table, "csv"].decode()))
        ]
        assert [{name: text_of(value) for name, value in row.items()} for row in rows] == csv_rows
        assert len(rows) == both.manifest()["rows"][table]
    assert both.manifest()["rows"] == {
        "sessions": 1, "events": 2, "entries": 8, "observations": 4, "outcomes": 4, "transactions": 5, "predictions": 1
    }  # fmt: skip


def test_an_empty_text_is_not_an_unknown_one(both: Export) -> None:
    events = pyarrow.parquet.read_table(io.BytesIO(both.verified_files()["events", "parquet"])).to_pylist()

    assert [(row["title"], row["distance_m"]) for row in events] == [
        ('a "quoted", title\nwith two lines', 1800), ("", None)
    ]  # fmt: skip


def test_columns_have_the_types_of_the_view(both: Export) -> None:
    files = both.verified_files()

    events = pyarrow.parquet.read_schema(io.BytesIO(files["events", "parquet"]))
    outcomes = pyarrow.parquet.read_schema(io.BytesIO(files["outcomes", "parquet"]))
    metadata = pyarrow.parquet.read_metadata(io.BytesIO(files["events", "parquet"]))

    names = ("number", "scheduled_at", "conditions", "missing_markets")
    assert [events.field(name).type for name in names] == [
        pa.int32(), pa.timestamp("us", "UTC"), pa.string(), pa.list_(pa.string())
    ]  # fmt: skip
    assert [outcomes.field(name).type for name in ("slot", "start_timing_s", "refunded")] == [
        pa.int16(), pa.float64(), pa.bool_()
    ]  # fmt: skip
    assert {metadata.row_group(0).column(i).compression for i in range(metadata.num_columns)} == {"ZSTD"}
    assert "RLE_DICTIONARY" in metadata.row_group(0).column(0).encodings


def test_other_programs_read_the_partitions(both: Export) -> None:
    events = f"{both.folder}/events/*/*.parquet"
    query = f"select date, count(*), min(scheduled_at) from read_parquet('{events}') group by all"
    duck = duckdb.connect().execute(query).fetchall()
    frame = pl.scan_parquet(events, hive_partitioning=True).select("date", "scheduled_at").collect()
    sessions = pyarrow.dataset.dataset(both.folder / "sessions", partitioning="hive").to_table().to_pylist()

    assert duck == [(DAY, 2, START)]
    assert frame.rows() == [(DAY, START), (DAY, START.replace(hour=4, minute=0))]
    assert [(row["session_key"], row["date"]) for row in sessions] == [("river:2031-05-06:07", "2031-05-06")]


def test_a_loader_without_csv_publishes_parquet_only_and_removes_csv_files(
    store: Store, both: Export, make_export: MakeExport
) -> None:
    export = make_export(formats=("parquet",))
    store(settled(1, known=30, technique=3))
    export.run()
    export.remove_superseded()

    assert {file["format"] for file in export.manifest()["files"]} == {"parquet"}
    assert [path.name for path in (export.folder / "2031-05-06").iterdir()] == ["manifest.json"]
    assert len(list(export.folder.glob("events/*/*.parquet"))) == 1


def test_many_rows_are_written_in_groups(tmp_path: Path) -> None:
    csv_file, parquet_file = tmp_path / "t.csv", tmp_path / "t.parquet"
    with csv_file.open("w") as file:
        file.write("n,text\n")
        file.writelines(f'{n},"row {n}, {"x" * 60}"\n' for n in range(250_000))

    write_parquet(csv_file, {"n": "int8", "text": "text"}, parquet_file)

    metadata = pyarrow.parquet.read_metadata(parquet_file)
    assert metadata.num_rows == 250_000
    assert metadata.num_row_groups in {2, 3}
    assert pyarrow.parquet.read_table(parquet_file)["n"].to_pylist() == list(range(250_000))


def test_a_value_that_parquet_cannot_hold_is_an_error_of_the_export(tmp_path: Path) -> None:
    csv_file = tmp_path / "events.csv"
    csv_file.write_text("at\ninfinity\n")

    with pytest.raises(ExportError, match=r"^events: .*infinity"):
        write_parquet(csv_file, {"at": "timestamptz"}, tmp_path / "events.parquet")


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        (None, None),
        ("{}", []),
        ("{win,exacta}", ["win", "exacta"]),
        ('{"a, b","c\\"d",NULL,"NULL",""}', ["a, b", 'c"d', None, "NULL", ""]),
    ],
)
def test_an_array_of_texts_is_parsed(text: str | None, elements: list[str | None] | None) -> None:
    assert parse_array(text) == elements


def test_json_columns_hold_json(both: Export) -> None:
    entries = pyarrow.parquet.read_table(io.BytesIO(both.verified_files()["entries", "parquet"])).to_pylist()

    assert json.loads(entries[0]["measures"])["weight_kg"] == 51.0
