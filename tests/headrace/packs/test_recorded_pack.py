"""A pack and the exports of the recorded day 2026-01-31 have the payouts and results of its rows in SQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from headrace.packs.verification import problems_of
from services.loader.exports.exporter import Exporter, ExportTimes
from services.loader.exports.target import FolderTarget
from tests.headrace.packs.conftest import pack_of
from tests.services.loader.conftest import own_database
from tests.services.loader.facts import StillClock
from tests.services.loader.test_recorded_day import LATER, final_documents, load

pytestmark = pytest.mark.recorded

DAY = date(2026, 1, 31)
SUMS = {
    "transactions": "count(*)::bigint, sum(amount)::bigint, count(DISTINCT event_key)",
    "outcomes": "count(*)::bigint, sum(place)::bigint, count(DISTINCT event_key)",
    "entries": "count(*)::bigint, sum(slot)::bigint, count(DISTINCT entity_key)",
    "events": "count(*)::bigint, sum(number)::bigint, count(DISTINCT scheduled_at)",
}


@pytest.fixture(scope="module")
def recorded_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    with own_database(postgres) as url:
        with psycopg.connect(url) as connection:
            connection.execute("SET timezone = 'UTC'")
            load(connection, final_documents(DAY))
        yield url


def assert_sums_are_equal(url: str, folder: Path) -> None:
    with psycopg.connect(url) as connection, duckdb.connect() as duck:
        for view, sums in SUMS.items():
            files: Any = duck.execute(f"SELECT {sums} FROM read_parquet('{folder}/{view}/date=2026-01-31/*.parquet')")
            assert files.fetchone() == connection.execute(f"SELECT {sums} FROM analytics.{view}").fetchone(), view


def test_a_pack_has_the_sums_of_sql(recorded_url: str, tmp_path: Path) -> None:
    with psycopg.connect(recorded_url, autocommit=True) as connection:
        manifest = pack_of(connection, "2026-01-31", str(tmp_path / "pack"))

    assert_sums_are_equal(recorded_url, tmp_path / "pack")
    assert manifest.views["events"].rows == 168
    assert problems_of(tmp_path / "pack", manifest) == []


def test_exports_have_the_sums_of_sql(recorded_url: str, tmp_path: Path) -> None:
    target, times = FolderTarget(tmp_path / "exports"), ExportTimes(quiet_period_s=0)
    exporter = Exporter(recorded_url, target, tmp_path / "exports" / ".staging", StillClock(LATER), ("parquet",), times)
    for _ in range(2):
        exporter.export_due_days(threading.Event())
    exporter._link.drop()

    assert exporter.status()["exports_written"] == 1
    assert_sums_are_equal(recorded_url, tmp_path / "exports")
