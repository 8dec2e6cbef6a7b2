"""Data packs: other programs read the same rows as SQL, and a manifest says what is in them."""

from __future__ import annotations

import csv
import datetime as dt
import json
import re
import threading
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import psycopg
import pyarrow.parquet
import pytest

from headrace.cli import command
from headrace.database.embedded import EmbeddedPostgres
from headrace.frames import connect
from headrace.frames.days import parse_span
from headrace.frames.packing import packed_views
from headrace.packs.manifest import BadPack, PackManifest
from headrace.packs.verification import problems_of, read_manifest
from headrace.packs.writing import declared_licence
from services.loader.exports.object_storage import ObjectStorageTarget
from services.loader.load import Loader
from shared.runtime.metrics import Metrics
from tests.headrace.packs.conftest import SPAN, TERMS, pack_of
from tests.services.loader.exports.s3_server import CREDENTIALS, S3Server
from tests.services.loader.facts import DAY, StillClock, key, listed, received, settled
from tests.waiting import wait_until

Pack = tuple[Path, PackManifest]
Reader = psycopg.Connection[Any]
DAYS = f"date BETWEEN '{DAY}' AND '{DAY + dt.timedelta(days=1)}'"
VIEWS = {view.name: view for view in packed_views(parse_span(SPAN))}
EVENTS = f"SELECT e.* FROM analytics.events e JOIN analytics.sessions s USING (session_key) WHERE s.{DAYS}"


def sums_of(reader: Reader, query: str) -> tuple[Any, ...]:
    row = reader.execute(query).fetchone()
    assert row is not None
    return tuple(row)


PAYOUTS = f"SELECT count(*), sum(amount)::bigint FROM analytics.transactions JOIN ({EVENTS}) e USING (event_key)"
TIMES = f"SELECT count(*), min(scheduled_at), max(scheduled_at) FROM ({EVENTS}) e"


def test_pandas_reads_the_rows_of_sql(pack: Pack, reader: Reader) -> None:
    transactions, events = pd.read_parquet(pack[0] / "transactions"), pd.read_parquet(pack[0] / "events")

    assert (len(transactions), transactions["amount"].sum()) == sums_of(reader, PAYOUTS)
    assert (len(events), events["scheduled_at"].min(), events["scheduled_at"].max()) == sums_of(reader, TIMES)
    assert set(events["date"].astype(str)) == {"2031-05-06", "2031-05-07"}


def test_polars_reads_the_rows_of_sql(pack: Pack, reader: Reader) -> None:
    def scan(view: str) -> pl.LazyFrame:
        return pl.scan_parquet(f"{pack[0]}/{view}/**/*.parquet", hive_partitioning=True)

    payouts = scan("transactions").select(pl.len(), pl.col("amount").sum()).collect().row(0)
    times = scan("events").select(pl.len(), pl.col("scheduled_at").min(), pl.col("scheduled_at").max().alias("max"))

    assert payouts == sums_of(reader, PAYOUTS)
    assert times.collect().row(0) == sums_of(reader, TIMES)


def test_duckdb_reads_the_rows_of_sql(pack: Pack, reader: Reader) -> None:
    with duckdb.connect() as duck:

        def row(query: str, view: str) -> Any:
            files = f"read_parquet('{pack[0]}/{view}/*/*.parquet', hive_partitioning = true)"
            return duck.execute(query.format(files)).fetchone()

        payouts = row("SELECT count(*), sum(amount)::bigint FROM {}", "transactions")
        times = row("SELECT count(*), min(scheduled_at), max(scheduled_at) FROM {}", "events")

    assert payouts == sums_of(reader, PAYOUTS)
    assert times == sums_of(reader, TIMES)


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_has_the_rows_of_sql(pack: Pack, reader: Reader, view: str) -> None:
    """Every value of every row, as text; the days of SPAN, and what belongs to no day."""
    known = VIEWS[view]
    names = [name for name in known.types if not (known.is_dated and name == "date")]
    columns = ", ".join(f't."{name}"' for name in names)
    where = {
        "sessions": f"WHERE t.{DAYS}",
        "entities": "WHERE entity_key IN"
        f" (SELECT entity_key FROM analytics.entries JOIN ({EVENTS}) e USING (event_key))",
    }.get(view, f"WHERE t.event_key IN (SELECT event_key FROM ({EVENTS}) e)" if known.is_dated else "")
    expected = reader.execute(f"SELECT {columns} FROM analytics.{view} t {where}").fetchall()

    rows = [
        row
        for file in sorted((pack[0] / view).rglob("*.parquet"))
        for row in pyarrow.parquet.ParquetFile(file).read().to_pylist()
    ]

    assert sorted(comparable(row.values()) for row in rows) == sorted(map(comparable, expected))
    assert pack[1].views[view].rows == len(rows)


def comparable(values: Any) -> list[str]:
    """Values as text; JSON with sorted keys."""
    texts = []
    for value in values:
        parsed = json.loads(value) if isinstance(value, str) and value.startswith("{") else value
        texts.append(json.dumps(parsed, sort_keys=True, default=str))
    return texts


def test_the_manifest_describes_the_pack(pack: Pack) -> None:
    folder, manifest = pack

    assert read_manifest(folder) == manifest
    assert (str(manifest.first_day), str(manifest.last_day)) == ("2031-05-06", "2031-05-07")
    assert (manifest.sources, manifest.licences) == (("river",), {"river": TERMS})
    assert manifest.as_of.tzinfo is not None
    assert manifest.views["transactions"].partitioned_by == "date"
    assert manifest.views["entities"].partitioned_by is None
    assert {file.path for file in manifest.files} >= {
        "events/date=2031-05-06/part.parquet", "events/date=2031-05-07/part.parquet", "entities/part.parquet",
        "README.md", "dictionary.csv", "LICENCE.txt",
    }  # fmt: skip
    assert problems_of(folder, manifest) == []


def test_the_texts_explain_the_pack(pack: Pack) -> None:
    readme = (pack[0] / "README.md").read_text()
    dictionary = list(csv.DictReader((pack[0] / "dictionary.csv").read_text().splitlines()))

    assert all(word in readme for word in ("pandas", "polars", "duckdb", "2031-05-06 to 2031-05-07"))
    assert {(row["view"], row["column"]) for row in dictionary} == {
        (view.name, name) for view in VIEWS.values() for name in view.types
    }
    assert next(row["unit"] for row in dictionary if row["column"] == "distance_m") == "m"
    assert TERMS in (pack[0] / "LICENCE.txt").read_text()


def test_the_lines_of_the_readme_run(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pack[0])
    pandas_line, polars_line, duckdb_line = [
        line.strip() for line in Path("README.md").read_text().splitlines() if line.startswith("    ")
    ]

    for line in (pandas_line, polars_line):
        names: dict[str, Any] = {}
        exec(line, names)
        assert len(names["events"]) == 9
    with duckdb.connect() as duck:
        assert len(duck.execute(duckdb_line.split('"')[1]).fetchall()) == 9


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda folder: (folder / "entities/part.parquet").unlink(), "entities/part.parquet: missing"),
        (lambda folder: (folder / "README.md").write_text("short"), r"README.md: expected \d+ bytes, found 5"),
        (lambda folder: (folder / "note.txt").write_text("x"), "note.txt: not in the manifest"),
        (
            lambda folder: (folder / "LICENCE.txt").write_text((folder / "LICENCE.txt").read_text().swapcase()),
            "LICENCE.txt: the SHA-256 differs",
        ),
        (
            lambda folder: (folder / "manifest.json").write_text(
                (folder / "manifest.json").read_text().replace('"rows": 5,', '"rows": 6,', 1)
            ),
            r"events/date=2031-05-06/part.parquet: expected 6 rows, found 5",
        ),
    ],
)
def test_a_damaged_pack_is_reported(pack: Pack, reader: Reader, tmp_path: Path, change: Any, problem: str) -> None:
    folder = tmp_path / "pack"
    pack_of(reader, SPAN, str(folder))
    change(folder)

    [line] = problems_of(folder, read_manifest(folder))

    assert re.fullmatch(problem, line)


def test_a_folder_with_files_is_refused_and_stays(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")

    with pytest.raises(BadPack, match="not an empty folder"):
        pack_of(reader, SPAN, str(tmp_path))

    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_days_without_rows_give_no_pack(reader: Reader, tmp_path: Path) -> None:
    with pytest.raises(BadPack, match="nothing is loaded for 1999-01-01"):
        pack_of(reader, "1999-01-01", str(tmp_path / "pack"))

    assert list(tmp_path.iterdir()) == []


def test_a_pack_is_one_snapshot(database_url: str, database: Reader, tmp_path: Path) -> None:
    """A lock on one table stops the pack between two views. A row that the second view gets meanwhile is not in it."""
    with psycopg.connect(database_url) as loading:
        loading.execute("SET timezone = 'UTC'")
        Loader(StillClock(), Metrics()).handle([received(listed()), received(settled())], loading)
    manifests: list[PackManifest] = []

    def write() -> None:
        with psycopg.connect(database_url, autocommit=True) as connection:
            manifests.append(pack_of(connection, SPAN, str(tmp_path / "pack")))

    writer = threading.Thread(target=write)
    with psycopg.connect(database_url) as blocking:
        blocking.execute("LOCK TABLE facts.regressions")
        writer.start()
        wait_until(lambda: database.execute("SELECT FROM pg_locks WHERE NOT granted").rowcount == 1)
        database.execute(
            "INSERT INTO facts.corrections SELECT gen_random_uuid(), id, 'listed', 'title', 'old', 'new', now()"
            " FROM facts.events"
        )
    writer.join()

    assert database.execute("SELECT FROM analytics.corrections").rowcount == 1
    assert manifests[0].views["corrections"].rows == 0


def test_frames_write_a_pack(packed_url: str, tmp_path: Path) -> None:
    with connect(packed_url) as hr:
        manifest = hr.pack("2031-05-06", to=tmp_path / "pack")

    assert manifest.views["events"].rows == 5
    assert key() in pd.read_parquet(tmp_path / "pack" / "events")["event_key"].tolist()


def test_a_pack_is_written_to_object_storage(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server = S3Server()
    server.start()
    try:
        url, options = f"s3://{server.bucket}/packs/may", {"endpoint_url": server.url}
        manifest = pack_of(reader, SPAN, url, options)
        server.files().get(f"{server.bucket}/packs/may", str(tmp_path / "pack"), recursive=True)

        assert problems_of(tmp_path / "pack", manifest) == []
        assert ObjectStorageTarget(url, options).read("manifest.json") == manifest.encode()
        with pytest.raises(BadPack, match="contains a pack"):
            pack_of(reader, SPAN, url, options)
    finally:
        server.stop()


def test_the_command_writes_and_verifies_a_pack(
    packed_url: str,
    postgres: EmbeddedPostgres,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, url = tmp_path / "pack", re.sub(r":[^/@]*@", "@", packed_url)
    monkeypatch.setenv("HEADRACE_DATABASE__PASSWORD_FILE", str(postgres.password_file("headrace_owner")))

    code = command(["pack", "--to", str(folder), SPAN, "--database", url])

    assert (code, capfd.readouterr().err[: len(f"{folder}: ")]) == (0, f"{folder}: ")
    assert command(["pack", "verify", str(folder)]) == 0
    assert "are as in the manifest" in capfd.readouterr().out
    (folder / "README.md").unlink()
    assert command(["pack", "verify", str(folder)]) == 1
    assert capfd.readouterr().err == f"README.md: missing\nheadrace: {folder}: 1 problem\n"
    assert command(["pack", "verify", str(tmp_path)]) == 1
    assert "contains no pack" in capfd.readouterr().err


def test_the_shipped_source_declares_its_licence() -> None:
    assert "MIT License" in (declared_licence("boatrace") or "")
    assert declared_licence("river") is None
