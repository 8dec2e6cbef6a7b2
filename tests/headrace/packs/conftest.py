"""A database with synthetic events, and packs of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from headrace.frames.days import parse_span
from headrace.frames.packing import packed_views
from headrace.packs.manifest import PackManifest
from headrace.packs.writing import write_pack
from services.loader.load import Loader
from shared.runtime.metrics import Metrics
from tests.services.loader.conftest import own_database
from tests.services.loader.facts import DAY, SOURCE, StillClock, listed, observed, prediction, received, settled

TERMS = "Made up; free for all."
SPAN = "2031-05-06/2031-05-07"


def licence_of(source: str) -> str | None:
    return TERMS if source == SOURCE else None


def pack_of(connection: psycopg.Connection[Any], span: str, to: str, *options: Any, **more: Any) -> PackManifest:
    days = parse_span(span)
    return write_pack(connection, packed_views(days), days, to, *options, **more)


@pytest.fixture(scope="session")
def packed_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database with three days of events, one of them outside SPAN."""
    with own_database(postgres) as url:
        with psycopg.connect(url) as connection:
            connection.execute("SET timezone = 'UTC'")
            loader = Loader(StillClock(), Metrics())
            for day in (DAY, DAY + timedelta(days=1), DAY + timedelta(days=2)):
                facts = [
                    fact(number, day=day, venue=venue)
                    for venue in (7, 12)
                    for number in (1, 2)
                    for fact in (listed, observed, settled)
                ]
                loader.handle([received(fact) for fact in facts], connection)
            corrected = [settled(1, known=30, technique=3), listed(3, title='with "quotes",\nand a line end')]
            loader.handle([*map(received, corrected), prediction(1)], connection)
            connection.commit()
        yield url


@pytest.fixture(scope="session")
def pack(packed_url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PackManifest]:
    """The folder and the manifest of a pack of SPAN."""
    folder = tmp_path_factory.mktemp("packs") / "pack"
    with psycopg.connect(packed_url, autocommit=True) as connection:
        return folder, pack_of(connection, SPAN, str(folder), licence_of=licence_of)


@pytest.fixture
def reader(packed_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(packed_url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection
