"""The recorded day 2026-01-31: its final files, and all their versions in the order of publication.

tests/recorded_days.py names the folder of the recorded days.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.cleaner.handle import Cleaner
from services.fetcher.capture import Capture, WrongDay
from services.fetcher.planning.cursor import SliceVersion
from services.fetcher.sources.documents import Document
from services.fetcher.sources.yaml_file import load_source
from services.loader.load import Loader
from shared.broker.contract import NewRecord, Record
from shared.records import decode
from shared.runtime.metrics import Metrics
from tests.recorded_days import directory
from tests.services.cleaner.recorded import FEEDS
from tests.services.loader.conftest import own_database
from tests.services.loader.facts import StillClock
from tests.services.loader.views import ask

pytestmark = pytest.mark.recorded
Connection = psycopg.Connection[Any]
Raw = list[NewRecord]

DAY = date(2026, 1, 31)
LATER = datetime(2026, 4, 2, tzinfo=UTC)


def final_documents(day: date = DAY) -> Iterator[Document]:
    for feed in FEEDS:
        path = directory() / "v2" / feed / f"{day:%Y}" / f"{day:%Y%m%d}.json.gz"
        yield Document(feed, day, path.name, gzip.decompress(path.read_bytes()), LATER, historical=True)


def live_documents() -> Iterator[Document]:
    folder = directory() / "live" / "2026-01-31"
    for version in json.loads((folder / "manifest.json").read_text())["versions"]:
        body, at = gzip.decompress((folder / version["file"]).read_bytes()), datetime.fromisoformat(version["utc"])
        yield Document(version["feed"], DAY, version["file"], body, at, published_at=at)


def clean_batches(documents: Iterator[Document]) -> Iterator[Raw]:
    """The clean events of what is new in each document."""
    source, cleaner = load_source("boatrace"), Cleaner(lambda reason: None)
    captures = {feed.name: Capture(source, feed) for feed in source.feeds}
    versions: dict[str, dict[str, SliceVersion]] = {feed: {} for feed in FEEDS}
    for document in documents:
        try:
            result = captures[document.feed](document, versions[document.feed])
        except WrongDay:
            continue
        versions[document.feed] = result.versions
        yield cleaner.handle([decode(Record(each.topic, 0, 0, 0, *each[1:4])) for each in result.records])


def load(connection: Connection, documents: Iterator[Document]) -> None:
    loader = Loader(StillClock(), Metrics())
    for batch in clean_batches(documents):
        loader.handle([decode(Record(each.topic, 0, 0, 0, *each[1:4])) for each in batch], connection)


MARKETS = [
    ("exacta", 168, 351_250),
    ("place", 336, 84_380),
    ("quinella", 168, 180_590),
    ("quinella_place", 501, 192_970),
    ("trifecta", 168, 1_535_730),
    ("trio", 167, 236_480),
    ("win", 168, 74_910),
]


DAY_COLUMNS = {
    "events": "event_key, session_key, number, scheduled_at, status, title, distance_m, technique, conditions,"
    " observed_conditions, missing_markets",
    "sessions": "*",
    "entities": "entity_key, name, categories",
    "entries": "*",
    "observations": "*",
    "outcomes": "*",
    "transactions": "*",
    "return_rates": "*",
}
"""The columns that describe the day, without the times at which they became known."""


def rows_of_day(connection: Connection) -> dict[str, set[str]]:
    return {
        name: {text for (text,) in ask(connection, f"SELECT x::text FROM (SELECT {columns} FROM analytics.{name}) x")}
        for name, columns in DAY_COLUMNS.items()
    }


@pytest.fixture(scope="module")
def live_day(postgres: EmbeddedPostgres) -> Iterator[Connection]:
    """A database with all versions of the day loaded in their order."""
    with own_database(postgres) as url, psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        load(connection, live_documents())
        yield connection


def figures(connection: Connection) -> dict[str, Any]:
    count = "SELECT count(*) FROM analytics."
    names = ("sessions", "events", "entries", "entities", "parked")
    return {name: ask(connection, count + name)[0][0] for name in names} | {
        "status": ask(connection, "SELECT status, count(*) FROM analytics.events GROUP BY 1"),
        "outcomes": ask(connection, "SELECT count(place), sum(place), count(code), sum(code) FROM analytics.outcomes"),
        "transactions": ask(
            connection, "SELECT market, count(*), sum(amount)::bigint FROM analytics.transactions GROUP BY 1 ORDER BY 1"
        ),
    }


DOCUMENTED = {
    "sessions": 14,
    "events": 168,
    "entries": 1008,
    "entities": 638,
    "parked": 0,
    "status": [("settled", 168)],
    "outcomes": [(990, 3426, 18, 217)],
    "transactions": MARKETS,
}


def test_all_versions_of_the_day_give_the_rows_of_its_final_files(connection: Connection, live_day: Connection) -> None:
    load(connection, final_documents())
    assert figures(connection) == figures(live_day) == DOCUMENTED
    expected, actual = rows_of_day(connection), rows_of_day(live_day)
    assert {name: sorted(actual[name] ^ expected[name]) for name in actual if actual[name] != expected[name]} == {}
    assert ask(connection, "SELECT count(*) FROM analytics.corrections") == [(0,)]
    assert ask(connection, "SELECT count(*) FROM analytics.regressions") == [(0,)]


def test_the_documented_corrections_are_recorded(live_day: Connection) -> None:
    assert ask(
        live_day, "SELECT event_key, field, old, new, known_at::text FROM analytics.corrections WHERE kind = 'settled'"
    ) == [("boatrace:2026-01-31:13:10", "outcomes.5.start_timing_s", "0.25", "0.15", "2026-01-31 07:54:22+00")]
    cards = ask(
        live_day,
        "SELECT field, old, new, count(*) FROM analytics.corrections WHERE field = 'distance_m' GROUP BY 1, 2, 3",
    )
    assert cards == [("distance_m", "1800", "1200", 18)]
    assert ask(live_day, "SELECT event_key FROM analytics.corrections WHERE field = 'scheduled_at' ORDER BY 1") == [
        ("boatrace:2026-01-31:06:11",),
        ("boatrace:2026-01-31:07:02",),
    ]


def test_the_documented_losses_are_recorded(live_day: Connection) -> None:
    assert ask(
        live_day,
        "SELECT count(DISTINCT event_key), count(*) FILTER (WHERE field LIKE 'entries.%.entity.entity_key'),"
        " min(known_at)::text, max(known_at)::text FROM analytics.regressions WHERE kind = 'listed'",
    ) == [(20, 120, "2026-01-30 19:02:00+00", "2026-01-30 19:02:00+00")]


def test_cancelled_cards_that_are_listed_again_are_postponed(connection: Connection) -> None:
    """Venue 3 in January 2026: cancelled on the 10th and the 11th, run on the 12th."""
    for day in (10, 11, 12):
        load(connection, final_documents(date(2026, 1, day)))
    assert ask(
        connection,
        "SELECT s.date::text, e.status, s.status, count(*) FROM analytics.events e JOIN analytics.sessions s"
        " USING (session_key) WHERE s.venue = 3 GROUP BY 1, 2, 3 ORDER BY 1",
    ) == [
        ("2026-01-10", "postponed", "cancelled", 12),
        ("2026-01-11", "postponed", "cancelled", 12),
        ("2026-01-12", "settled", "settled", 12),
    ]
