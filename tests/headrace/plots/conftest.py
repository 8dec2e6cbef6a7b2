"""A database with a simulated season."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from tests.headrace.plots.season import load_season
from tests.services.loader.conftest import own_database


@pytest.fixture(scope="session")
def season_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The owner's URL."""
    with own_database(postgres) as url:
        with psycopg.connect(url) as connection:
            load_season(connection)
        yield url
